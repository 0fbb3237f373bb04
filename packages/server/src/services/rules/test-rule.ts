/** What a rule makes of an event or a call, and why, for people. Nothing is performed. Pure. */
import type { OutputOf } from "@signalbox/contracts/operation"
import type { rulesTest } from "@signalbox/contracts/rules/operations"
import type { RuleDefinition } from "@signalbox/contracts/rules/rule-document"
import { isAppError } from "@signalbox/kernel/app-error"
import { explainRule, type ConditionExplanation } from "@signalbox/rules/explain-rule"
import { compileInputTemplate } from "@signalbox/rules/input-template"
import type { RuleData } from "@signalbox/rules/evaluate-rules"
import type { CompiledRule, RuleTrigger } from "@signalbox/rules/rule-source"
import { operationDoneType, type OperationDone, type RuleCall, type RuleEvent } from "../../router/rule-ports.ts"
import { isSilenced, occurredBy } from "./rule-directory.ts"
import { isGating, type RuleParts } from "./rule-parts.ts"
import { dataOfCall, dataOfEvent, eventVariables } from "./rule-variables.ts"

export type Verdict = OutputOf<typeof rulesTest>
type Effect = Verdict["effects"][number]

/** What is held against a rule. */
export type Occurrence =
  | { readonly kind: "event"; readonly event: RuleEvent }
  | { readonly kind: "before"; readonly call: RuleCall }
  | { readonly kind: "after"; readonly call: RuleCall; readonly output: unknown; readonly event?: RuleEvent }

export interface TestedRule {
  readonly rule: string
  /** Absent of a draft. */
  readonly version?: number
  readonly definition: RuleDefinition
  readonly parts: RuleParts
  /** Why it names of services outside what is there no more. */
  readonly outdated?: string
}

const partsShownMax = 200

export function occurrenceOf(event: RuleEvent, account: string): Occurrence {
  if (event.type !== operationDoneType) return { kind: "event", event }
  const { operation, caller, input, output } = event.data as OperationDone
  return { kind: "after", call: { account, operation, caller, input }, output, event }
}

export function testRule(tested: TestedRule, occurrence: Occurrence): Verdict {
  const { occurred, data } = seen(occurrence)
  const { rule, version, outdated } = tested
  const candidates = partsFor(tested.parts, occurrence)
  const explained = candidates.map((part) => explainRule(part, occurred, data))
  // Of the members of a correlation the one that matches says most.
  const best =
    explained.find(({ outcome }) => outcome === "matched") ??
    explained.find(({ outcome }) => outcome === "failed") ??
    explained.find(({ outcome }) => outcome === "not-matched") ??
    explained[0]
  const outcome = best?.outcome ?? "not-triggered"
  return {
    ...{ rule, ...(version === undefined ? {} : { version }), outcome },
    ...(outdated === undefined ? {} : { outdated }),
    ...("event" in occurrence && occurrence.event ? { event: occurrence.event.id } : {}),
    reason: reasonOf(outcome, best?.condition, { occurrence, isMember: tested.parts.members.length > 0 }),
    conditions: best?.condition ? flat(best.condition, 0).slice(0, partsShownMax) : [],
    effects: outcome === "matched" ? effectsOf(tested, occurrence) : [],
  }
}

function seen(occurrence: Occurrence): { readonly occurred: readonly RuleTrigger[]; readonly data: RuleData } {
  if (occurrence.kind === "event")
    return { occurred: occurredBy(occurrence.event), data: dataOfEvent(occurrence.event) }
  const { kind, call } = occurrence
  const data = kind === "after" ? { ...dataOfCall(call), output: occurrence.output } : dataOfCall(call)
  return { occurred: [{ on: kind, name: call.operation }], data }
}

function partsFor(parts: RuleParts, { kind }: Occurrence): readonly CompiledRule[] {
  const own = parts[kind]
  return [...(own ? [own] : []), ...(kind === "event" ? parts.members.map(({ rule }) => rule) : [])]
}

function reasonOf(
  outcome: Verdict["outcome"],
  condition: ConditionExplanation | undefined,
  { occurrence, isMember }: { readonly occurrence: Occurrence; readonly isMember: boolean },
): string {
  const what = occurrence.kind === "event" ? occurrence.event.type : `${occurrence.kind} ${occurrence.call.operation}`
  if (outcome === "not-triggered" && occurrence.kind === "event" && isSilenced(occurrence.event))
    return `${what} is silenced, and none of its triggers waits for silenced ones`
  if (outcome === "not-triggered") return `none of its triggers waits for ${what}`
  if (outcome === "matched") {
    if (isMember) return `${what} is a member of its correlation`
    return condition ? `its condition is true of ${what}` : `${what} sets it going, and it has no condition`
  }
  const decisive = condition && findDecisive(condition)
  const part = decisive?.text ?? ""
  if (outcome === "failed") return `its condition has no result: ${part}: ${decisive?.fault ?? ""}`
  return `its condition is not true: ${part} is ${JSON.stringify(decisive?.value)}`
}

/** The smallest part that made the condition what it is. */
function findDecisive(condition: ConditionExplanation): ConditionExplanation {
  const isFault = condition.fault !== undefined
  const part = condition.parts.find(
    ({ isDecisive, value, fault }) => isDecisive && (isFault ? fault !== undefined : typeof value === "boolean"),
  )
  return part ? findDecisive(part) : condition
}

function flat(condition: ConditionExplanation, depth: number): Verdict["conditions"] {
  const { text, value, fault, isDecisive, parts } = condition
  const own = {
    ...{ depth, text, decisive: isDecisive },
    ...(fault === undefined ? { value } : { fault }),
  }
  return [own, ...parts.flatMap((part) => flat(part, depth + 1))]
}

function effectsOf({ definition, parts }: TestedRule, occurrence: Occurrence): Effect[] {
  const isBefore = occurrence.kind === "before"
  const { data } = seen(occurrence)
  const given = occurrence.kind === "after" && occurrence.event ? { ...data, ...dataOfEvent(occurrence.event) } : data
  const variables = (parts[occurrence.kind] ?? parts.members[0]?.rule)?.variables ?? {}
  const known = { ...variables, ...(isBefore ? {} : eventVariables.variables) }
  return definition.do.flatMap((action): Effect[] => {
    if (isGating(action) !== isBefore) return []
    const { operation, input, deny, requireApproval, delay, rewrite } = action
    if (deny) return [{ kind: "deny", text: deny.reason }]
    if (requireApproval) return [{ kind: "requireApproval", text: requireApproval.template }]
    if (delay !== undefined) return [{ kind: "delay", text: delay }]
    const filled = fill(rewrite ?? input ?? {}, known, given)
    return [operation === undefined ? { kind: "rewrite", ...filled } : { kind: "operation", operation, ...filled }]
  })
}

function fill(
  template: unknown,
  variables: CompiledRule["variables"],
  data: RuleData,
): Pick<Effect, "input" | "fault"> {
  try {
    return { input: compileInputTemplate(template, variables).render(data) }
  } catch (error) {
    if (!isAppError(error)) throw error
    return { fault: error.message }
  }
}
