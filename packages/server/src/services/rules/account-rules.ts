/** The rules of one account, ready to be asked. An immutable value: a change makes another one. */
import { ruleDefinition, type RuleDefinition, type RuleTrigger } from "@signalbox/contracts/rules/rule-document"
import { isAppError } from "@signalbox/kernel/app-error"
import type { CompiledRule } from "@signalbox/rules/rule-source"
import { createRuleSet, type RuleSet } from "@signalbox/rules/rule-set"
import type { Operations } from "./operation-pattern.ts"
import { brokenParts, makeParts, type MemberList, type RuleParts } from "./rule-parts.ts"
import type { RuleRow } from "./rule-store.ts"

export interface LoadedRule {
  readonly row: RuleRow
  /** Undefined where this program can't read it. */
  readonly definition: RuleDefinition | undefined
  readonly parts: RuleParts
  readonly broken?: string
}

export interface Member {
  readonly rule: string
  readonly version: number
  readonly list: MemberList
  readonly index: number
}

export interface AccountRules {
  readonly rules: ReadonlyMap<string, LoadedRule>
  readonly before: RuleSet
  readonly after: RuleSet
  readonly events: RuleSet
  readonly members: RuleSet
  /** By the id of its part in `members`. */
  readonly memberOf: ReadonlyMap<string, Member>
  /** Answers that were given: whether any rule waits before or after an operation. */
  readonly asked: Readonly<Record<"before" | "after", Map<string, boolean>>>
  /** Answers that were given: whether any rule before an operation reads a field of its input. */
  readonly readers: Map<string, boolean>
  readonly eventTypes: readonly string[]
}

/** So many changes are made to the sets that there are; more, and they are built anew. */
const changesMax = 64

/** @param found what has not changed as it is in the present value, and the rows of the others */
export function loadAccountRules(
  found: ReadonlyArray<LoadedRule | RuleRow>,
  present: AccountRules | undefined,
  operations: Operations,
): AccountRules {
  const loaded = found.map((rule) => ("row" in rule ? rule : loadRule(rule, operations)))
  const rules = new Map(loaded.map((rule) => [rule.row.name, rule] as const))
  const enabled = loaded.filter(({ row }) => row.enabled)
  const members = enabled.flatMap(({ parts }) => parts.members)
  return {
    rules,
    before: updated(present?.before, partsOf(present, "before"), partsIn(enabled, "before")),
    after: updated(present?.after, partsOf(present, "after"), partsIn(enabled, "after")),
    events: updated(present?.events, partsOf(present, "event"), partsIn(enabled, "event")),
    members: createRuleSet(members.map(({ rule }) => rule)),
    memberOf: new Map(enabled.flatMap(membersOf)),
    asked: { before: new Map(), after: new Map() },
    readers: new Map(),
    eventTypes: [...new Set(enabled.flatMap(typesOf))],
  }
}

/** @returns what can't be compiled as a broken rule: an upgrade of the program must not stop it */
export function loadRule(row: RuleRow, operations: Operations): LoadedRule {
  const parsed = ruleDefinition.safeParse(row.definition)
  if (!parsed.success) {
    const message = `this program can't read the rule: ${parsed.error.issues[0]?.message ?? ""}`
    return { row, definition: undefined, parts: brokenParts(firingOf(row), undefined, message), broken: message }
  }
  const definition = parsed.data
  try {
    return { row, definition, parts: makeParts(firingOf(row), definition, operations) }
  } catch (error) {
    if (!isAppError(error)) throw error
    const message = `this program can't compile the rule: ${error.message}`
    const on: readonly RuleTrigger[] = definition.on ?? []
    return { row, definition, parts: brokenParts(firingOf(row), on, message), broken: message }
  }
}

const firingOf = ({ name, version }: RuleRow) => ({ rule: name, version })

type PartName = "before" | "after" | "event"

function partsOf(present: AccountRules | undefined, part: PartName): readonly CompiledRule[] {
  return partsIn(
    [...(present?.rules.values() ?? [])].filter(({ row }) => row.enabled),
    part,
  )
}

function partsIn(rules: readonly LoadedRule[], part: PartName): readonly CompiledRule[] {
  return rules.flatMap(({ parts }) => parts[part] ?? [])
}

function updated(set: RuleSet | undefined, from: readonly CompiledRule[], to: readonly CompiledRule[]): RuleSet {
  if (!set) return createRuleSet(to)
  const kept = new Set(from)
  const wanted = new Set(to)
  const ids = new Set(to.map(({ id }) => id))
  const added = to.filter((rule) => !kept.has(rule))
  const removed = from.filter((rule) => !wanted.has(rule) && !ids.has(rule.id))
  if (added.length + removed.length > changesMax) return createRuleSet(to)
  const without = removed.reduce((so, { id }) => so.without(id), set)
  return added.reduce((so, rule) => so.with(rule), without)
}

function membersOf({ row, parts }: LoadedRule): Array<readonly [string, Member]> {
  return parts.members.map(({ rule, list, index }) => [rule.id, { rule: row.name, version: row.version, list, index }])
}

/** Which events have to be looked at because of a rule. */
function typesOf({ parts }: LoadedRule): string[] {
  const triggers = [parts.event, ...parts.members.map(({ rule }) => rule)].flatMap((part) => part?.triggers ?? [])
  const types = triggers.map(({ on, name }) => {
    if (on === "signal") return name.endsWith("/cleared") ? "signal.cleared" : "signal.raised"
    if (on === "webhook") return "webhook.received"
    if (on === "schedule") return "schedule.fired"
    return on === "trigger" ? "trigger.fired" : name
  })
  return parts.after ? [...types, "operation.done"] : types
}
