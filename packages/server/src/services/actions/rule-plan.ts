/** What a published rule's firing comes to: its limits and its actions, compiled once for each version. */
import type { RuleDefinition } from "@signalbox/contracts/rules/rule-document"
import { compileExpression, type Expression } from "@signalbox/expressions/compile-expression"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { toInstant } from "@signalbox/kernel/clock"
import { getDuration } from "@signalbox/kernel/duration"
import type { Correlation } from "@signalbox/rules/correlation"
import { compileInputTemplate, type InputTemplate } from "@signalbox/rules/input-template"
import type { FiringBudget } from "@signalbox/rules/storm-budget"
import type { StormLimit } from "@signalbox/rules/storm-control"
import { createHash } from "node:crypto"
import { operationDoneType, type OperationDone, type PublishedRule } from "../../router/rule-ports.ts"
import type { TakenEvent } from "./taken-event.ts"

export interface PlannedAction {
  /** Its place in the rule's `do`. */
  readonly number: number
  readonly operation: string
  /** @throws expressions.invalid where this server does not understand it */
  readonly template: () => InputTemplate
}

export interface RulePlan {
  readonly rule: string
  readonly version: number
  readonly author: string
  readonly limit: StormLimit | undefined
  readonly correlation: Correlation | undefined
  readonly budget: FiringBudget
  readonly actions: readonly PlannedAction[]
  /** The group that an event belongs to. @throws expressions.invalid, expressions.evaluation-failed */
  groupOf(event: TakenEvent): string
}

/** What was compiled of a version: the present one's definition is the same object each time. */
const compiled = new WeakMap<RuleDefinition, Map<string, Expression | InputTemplate>>()

export function planRule({ rule, version, author, definition, variables }: PublishedRule): RulePlan {
  const by = definition.limit?.by ?? definition.correlate?.by ?? []
  return {
    ...{ rule, version, author },
    limit: limitOf(definition),
    correlation: correlationOf(definition),
    budget: { firings: definition.budget.firings, withinMilliseconds: getDuration(definition.budget.within) },
    actions: definition.do.flatMap(({ operation, input }, number) =>
      operation === undefined
        ? []
        : [
            {
              number,
              operation,
              template: () => kept(definition, `do ${number}`, () => compileInputTemplate(input ?? {}, variables())),
            },
          ],
    ),
    groupOf(event) {
      if (by.length === 0) return ""
      const data = dataOf(event)
      const values = by.map((text) => {
        const compile = () => compileExpression(text, { variables: variables(), resultType: "any" })
        return kept(definition, `by ${text}`, compile).evaluate(data)
      })
      return createHash("sha256").update(canonicalJson(values)).digest("base64url")
    },
  }
}

/** What the expressions of a rule see of an event; of a call that was carried out also the call. */
export function dataOf(event: TakenEvent): Readonly<Record<string, unknown>> {
  const shown = { ...event, time: toInstant(event.time) }
  if (event.type !== operationDoneType) return { event: shown }
  const { operation, input, output, caller } = event.data as OperationDone
  return { event: shown, operation, input, output, caller: { ...caller, teams: caller.teams ?? [] } }
}

function limitOf({ limit }: RuleDefinition): StormLimit | undefined {
  if (limit?.onceWithin !== undefined) return { kind: "once-within", withinMilliseconds: getDuration(limit.onceWithin) }
  if (limit?.onceAfter !== undefined) return { kind: "once-after", quietMilliseconds: getDuration(limit.onceAfter) }
  if (limit?.threshold === undefined) return undefined
  const { count, within } = limit.threshold
  return { kind: "threshold", count, withinMilliseconds: getDuration(within) }
}

function correlationOf({ correlate }: RuleDefinition): Correlation | undefined {
  if (!correlate) return undefined
  const kind = correlate.all ? "all" : correlate.any ? "any" : "none"
  return {
    kind,
    membersCount: correlate.all?.length ?? 0,
    withinMilliseconds: getDuration(correlate.within),
  }
}

/** @throws expressions.invalid */
function kept<T extends Expression | InputTemplate>(definition: RuleDefinition, place: string, compile: () => T): T {
  const own = compiled.get(definition) ?? new Map<string, Expression | InputTemplate>()
  compiled.set(definition, own)
  const made = (own.get(place) as T | undefined) ?? compile()
  own.set(place, made)
  return made
}
