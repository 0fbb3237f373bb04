/**
 * A rule's definition as what is matched: a part before operations, one after them, one for events, and one for each
 * member of a correlation. Pure.
 */
import type { RuleAction, RuleDefinition, RuleTrigger } from "@signalbox/contracts/rules/rule-document"
import { ruleScheduleName } from "@signalbox/contracts/rules/rule-schedule"
import { AppError } from "@signalbox/kernel/app-error"
import { getDuration } from "@signalbox/kernel/duration"
import { compileRule } from "@signalbox/rules/compile-rule"
import { openCondition } from "@signalbox/rules/condition"
import { compileInputTemplate, type InputTemplate } from "@signalbox/rules/input-template"
import type { CompiledRule, RuleTrigger as Trigger } from "@signalbox/rules/rule-source"
import type { EventMatch, Firing } from "../../router/rule-ports.ts"
import { operationsOf, type Operations } from "./operation-pattern.ts"
import { callVariables, eventVariables, type RuleVariables } from "./rule-variables.ts"

export type MemberList = EventMatch["members"][number]["list"]

/** What a gating rule does with a call that it matches. */
export interface Gate {
  readonly deny: string | undefined
  readonly delayMilliseconds: number
  readonly templates: readonly string[]
  readonly rewrites: readonly InputTemplate[]
  /** What those who are asked to approve a call are told. */
  readonly reason: string | undefined
}

export interface RuleParts {
  readonly before?: CompiledRule
  readonly gate?: Gate
  readonly after?: CompiledRule
  readonly event?: CompiledRule
  readonly members: ReadonlyArray<{ readonly rule: CompiledRule; readonly list: MemberList; readonly index: number }>
}

export const memberLists = ["all", "any", "none", "after"] as const satisfies readonly MemberList[]

export function isGating(action: RuleAction): boolean {
  return action.operation === undefined
}

export function phaseOf(trigger: RuleTrigger): "before" | "after" | "event" {
  return trigger.phase ?? "event"
}

/** The triggers of one phase. */
export function triggersOf(definition: RuleDefinition, phase: "before" | "after" | "event"): readonly RuleTrigger[] {
  return (definition.on ?? []).filter((trigger) => phaseOf(trigger) === phase)
}

/** The name under which a signal's trigger waits: raised and cleared are two. */
export function signalName(signal: string, state: "raised" | "cleared"): string {
  return `${signal}/${state}`
}

/** @throws expressions.invalid */
export function makeParts(firing: Firing, definition: RuleDefinition, operations: Operations): RuleParts {
  const { when } = definition
  const ownSchedules = scheduleNames(firing.rule, definition)
  const about = { id: firing.rule, version: firing.version, ...(when === undefined ? {} : { when }) }
  const part = (phase: "before" | "after" | "event"): CompiledRule | undefined => {
    const triggers = triggersOf(definition, phase)
    if (triggers.length === 0) return undefined
    return compileRule({
      ...about,
      triggers: triggers.map((trigger) => toTrigger(trigger, ownSchedules)),
      variables: variablesOf(definition, phase, operations).variables,
      gating: phase === "before",
    })
  }
  const [before, after, event] = [part("before"), part("after"), part("event")]
  return {
    ...(before && { before, gate: makeGate(definition, before.variables) }),
    ...(after && { after }),
    ...(event && { event }),
    members: memberLists.flatMap((list) => makeMembers(firing, definition, list)),
  }
}

/** What the expressions of one phase see. */
export function variablesOf(
  definition: RuleDefinition,
  phase: "before" | "after" | "event",
  operations: Operations,
): RuleVariables {
  if (phase === "event") return eventVariables
  const patterns = new Set(triggersOf(definition, phase).map(({ operation = "*" }) => operation))
  const known = variablesByTrigger.get(operations) ?? new Map<string, RuleVariables>()
  variablesByTrigger.set(operations, known)
  const key = `${phase} ${[...patterns].toSorted().join(" ")}`
  const found = known.get(key)
  if (found) return found
  if (known.size >= variablesMax) known.clear()
  const made = callVariables([...new Set([...patterns].flatMap((each) => operationsOf(operations, each)))], phase)
  known.set(key, made)
  return made
}

/** Thousands of rules about one operation share what is known of its fields. */
const variablesByTrigger = new WeakMap<Operations, Map<string, RuleVariables>>()
const variablesMax = 1000

/** What groupings and the inputs of operations see: the event, and after an operation also its call. */
export function actionVariables(definition: RuleDefinition, operations: Operations): RuleVariables["variables"] {
  const { event } = eventVariables.variables
  const call = triggersOf(definition, "after").length > 0 ? variablesOf(definition, "after", operations).variables : {}
  return { ...call, ...(event && { event }) }
}

/** A rule that can't be compiled any more: where it gates its condition has no result, so that calls are refused. */
export function brokenParts(firing: Firing, on: readonly RuleTrigger[] | undefined, message: string): RuleParts {
  const gating = (on ?? []).filter(({ operation, phase }) => operation !== undefined && phase === "before")
  if (on !== undefined && gating.length === 0) return { members: [] }
  const fail = (): never => {
    throw new AppError("expressions.evaluation-failed", message)
  }
  const triggers: Trigger[] =
    on === undefined ? [{ on: "before", name: "*" }] : gating.map((trigger) => toTrigger(trigger))
  const about = { id: firing.rule, version: firing.version, triggers, variables: {}, gating: true }
  const failing = compileRule({ ...about, when: "int('broken') == 0" })
  return { before: { ...failing, tests: openCondition, condition: { text: "", evaluate: fail } }, members: [] }
}

function makeGate(definition: RuleDefinition, variables: CompiledRule["variables"]): Gate {
  const actions = definition.do.filter(isGating)
  const delays = actions.flatMap(({ delay }) => (delay === undefined ? [] : [getDuration(delay)]))
  return {
    deny: actions.find(({ deny }) => deny)?.deny?.reason,
    delayMilliseconds: Math.max(0, ...delays),
    templates: actions.flatMap(({ requireApproval }) => (requireApproval ? [requireApproval.template] : [])),
    rewrites: actions.flatMap(({ rewrite }) => (rewrite ? [compileInputTemplate(rewrite, variables)] : [])),
    reason: actions.flatMap(({ requireApproval }) => requireApproval?.reason ?? [])[0] ?? definition.description,
  }
}

function makeMembers({ rule, version }: Firing, { correlate }: RuleDefinition, list: MemberList): RuleParts["members"] {
  return (correlate?.[list] ?? []).map(({ event, when }, index) => ({
    list,
    index,
    rule: compileRule({
      ...{ id: `${rule}/${list}/${index}`, version, gating: false, ...(when === undefined ? {} : { when }) },
      triggers: [{ on: "event", name: event }],
      variables: eventVariables.variables,
    }),
  }))
}

/** Under which names the schedules of a rule's triggers are kept. */
function scheduleNames(rule: string, { on = [] }: RuleDefinition): ReadonlyMap<RuleTrigger, string> {
  const scheduled = on.filter(({ schedule }) => schedule)
  return new Map(scheduled.map((trigger, place) => [trigger, ruleScheduleName(rule, place)]))
}

function toTrigger(given: RuleTrigger, ownSchedules: ReadonlyMap<RuleTrigger, string> = new Map()): Trigger {
  const { operation, phase, event, signal, state = "raised", webhook, trigger } = given
  const schedule = ownSchedules.get(given)
  if (schedule !== undefined) return { on: "schedule", name: schedule }
  if (operation !== undefined) return { on: phase ?? "before", name: operation }
  if (event !== undefined) return { on: "event", name: event }
  if (signal !== undefined) return { on: "signal", name: signalName(signal, state) }
  if (webhook !== undefined) return { on: "webhook", name: webhook }
  return { on: "trigger", name: trigger ?? "" }
}
