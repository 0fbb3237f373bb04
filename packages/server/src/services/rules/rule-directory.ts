/**
 * The rules of every account in memory, as the router asks them. An account's part is replaced whole when its version
 * grows; whoever has begun with the one before ends with it.
 */
import { ruleDefinition } from "@signalbox/contracts/rules/rule-document"
import { isAppError } from "@signalbox/kernel/app-error"
import type { RuleTrigger } from "@signalbox/rules/rule-source"
import {
  operationDoneType,
  type EventMatch,
  type Firing,
  type OperationDone,
  type PublishedRule,
  type RuleCall,
  type RuleDecision,
  type RuleEvent,
  type RuleMatcher,
} from "../../router/rule-ports.ts"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import type { Sql } from "../../storage/database.ts"
import { loadAccountRules, type AccountRules, type LoadedRule } from "./account-rules.ts"
import type { FaultBook } from "./fault-book.ts"
import { canBeHeld, type Operations } from "./operation-pattern.ts"
import { actionVariables, signalName } from "./rule-parts.ts"
import { findRule, findRuleVersion, readRules, readRulesNamed, readRuleVersions, type RuleRow } from "./rule-store.ts"
import { dataOfCall, dataOfEvent } from "./rule-variables.ts"

export const rulesComponent = "rules.configuration"

/** Operations about which it is remembered whether any rule is asked. */
const askedMax = 10_000

export interface RuleDirectory extends RuleMatcher {
  readonly listener: ConfigurationListener
  /** Why this server can't compile a rule's present version. */
  findBroken(account: string, firing: Firing): string | undefined
}

interface DirectoryOptions {
  readonly sql: Sql
  readonly operations: Operations
  readonly faults: Pick<FaultBook, "note">
}

const pass: RuleDecision = { kind: "pass" }
const noMatch: EventMatch = { firings: [], members: [], faults: [] }

export function createRuleDirectory(options: DirectoryOptions): RuleDirectory {
  const accounts = new Map<string, AccountRules>()
  const directory: RuleDirectory = {
    listener: {
      component: rulesComponent,
      async load(account) {
        const present = accounts.get(account)
        accounts.set(
          account,
          loadAccountRules(await readChanged(options.sql, account, present), present, options.operations),
        )
      },
    },
    findBroken(account, { rule, version }) {
      const loaded = accounts.get(account)?.rules.get(rule)
      return loaded?.row.version === version ? loaded.broken : undefined
    },
    isAsked(account, operation, phase) {
      const rules = accounts.get(account)
      if (rules === undefined) return false
      return rules.asked[phase].get(operation) ?? findAsked(rules, operation, phase)
    },
    readsInput(account, operation, field) {
      const rules = accounts.get(account)
      if (rules === undefined) return false
      return rules.readers.get(`${field} ${operation}`) ?? findReaders(rules, operation, field)
    },
    decide(call) {
      const rules = accounts.get(call.account)
      return rules ? decide(options, rules, call) : pass
    },
    follow: (call) => follow(options, accounts.get(call.account), call),
    matchEvent(account, event) {
      if (event.type === operationDoneType) return { ...noMatch, firings: (event.data as OperationDone).firings }
      const rules = accounts.get(account)
      return rules ? matchEvent(rules, event) : noMatch
    },
    isAwaited(account, event) {
      const { firings, members, faults } = directory.matchEvent(account, event)
      for (const fault of faults) options.faults.note(account, fault, fault.message)
      return firings.length > 0 || members.length > 0
    },
    eventTypes: () => [...new Set([...accounts.values()].flatMap((rules) => rules.eventTypes))],
    find: (account, firing) => find(options, accounts.get(account)?.rules.get(firing.rule), { account, firing }),
    async isInForce(account, rule) {
      if (accounts.get(account)?.rules.get(rule)?.row.enabled === true) return true
      // Another server may have put it a moment ago, and a no is final for whoever asks.
      return (await findRule(options.sql, account, rule))?.enabled === true
    },
  }
  return directory
}

/** Of ten thousand rules one changes at a time. */
async function readChanged(
  sql: Sql,
  account: string,
  present: AccountRules | undefined,
): Promise<Array<LoadedRule | RuleRow>> {
  if (!present) return await readRules(sql, account)
  const known = (name: string, version: number): LoadedRule | undefined => {
    const rule = present.rules.get(name)
    return rule?.row.version === version ? rule : undefined
  }
  const versions = await readRuleVersions(sql, account)
  const names = versions.filter(({ name, version }) => !known(name, version)).map(({ name }) => name)
  const changed = new Map(
    (names.length > 0 ? await readRulesNamed(sql, account, names) : []).map((row) => [row.name, row]),
  )
  // What was removed between the two looks is there no more.
  return versions.flatMap(({ name, version }) => known(name, version) ?? changed.get(name) ?? [])
}

function findAsked(rules: AccountRules, operation: string, phase: "before" | "after"): boolean {
  const isAsked = rules[phase].concerns([{ on: phase, name: operation }])
  const known = rules.asked[phase]
  if (known.size >= askedMax) known.clear()
  known.set(operation, isAsked)
  return isAsked
}

function findReaders(rules: AccountRules, operation: string, field: string): boolean {
  const waiting = [...rules.before.waiting([{ on: "before", name: operation }])]
  const isRead = waiting.some(({ id, reads }) => {
    const rewrites = rules.rules.get(id)?.parts.gate?.rewrites ?? []
    const all = [...reads, ...rewrites.flatMap((template) => template.reads)]
    return all.some(([name, own = field]) => name === "input" && own === field)
  })
  if (rules.readers.size >= askedMax) rules.readers.clear()
  rules.readers.set(`${field} ${operation}`, isRead)
  return isRead
}

/** Denial wins over everything, a condition without a result over all but that. */
function decide({ operations, faults }: DirectoryOptions, rules: AccountRules, call: RuleCall): RuleDecision {
  const data = dataOfCall(call)
  const found = rules.before.match([{ on: "before", name: call.operation }], data)
  const gates = found.matched.flatMap(({ id, version }) => {
    const gate = rules.rules.get(id)?.parts.gate
    return gate ? [{ by: { rule: id, version }, gate }] : []
  })
  const denying = gates.find(({ gate }) => gate.deny !== undefined)
  if (denying) return { kind: "deny", by: denying.by, code: "rules.denied", reason: denying.gate.deny ?? "" }
  const failed = (by: Firing, message: string): RuleDecision => {
    faults.note(call.account, by, message)
    return { kind: "deny", by, code: "rules.condition-failed", reason: message }
  }
  const [fault] = found.faults
  if (fault) return failed({ rule: fault.rule.id, version: fault.rule.version }, fault.message)
  const isHoldable = canBeHeld(operations.get(call.operation))
  const acting = gates.filter(
    ({ gate }) => gate.rewrites.length > 0 || (isHoldable && (gate.templates.length > 0 || gate.delayMilliseconds > 0)),
  )
  if (acting.length === 0) return pass
  const rewrites: Array<Firing & { fields: Readonly<Record<string, unknown>> }> = []
  for (const { by, gate } of acting) {
    for (const template of gate.rewrites) {
      try {
        rewrites.push({ ...by, fields: template.render(data) as Readonly<Record<string, unknown>> })
      } catch (error) {
        if (!isAppError(error)) throw error
        return failed(by, error.message)
      }
    }
  }
  return {
    kind: "demand",
    rewrites,
    delayMilliseconds: isHoldable ? Math.max(...acting.map(({ gate }) => gate.delayMilliseconds)) : 0,
    templates: isHoldable ? [...new Set(acting.flatMap(({ gate }) => gate.templates))] : [],
    by: acting.map(({ by, gate: { reason } }) => ({ ...by, ...(reason === undefined ? {} : { reason }) })),
  }
}

function follow(
  { faults }: DirectoryOptions,
  rules: AccountRules | undefined,
  call: RuleCall & { readonly output: unknown },
): readonly Firing[] {
  if (!rules) return []
  const data = { ...dataOfCall(call), output: call.output }
  const found = rules.after.match([{ on: "after", name: call.operation }], data)
  for (const { rule, message } of found.faults)
    faults.note(call.account, { rule: rule.id, version: rule.version }, message)
  return found.matched.map(({ id, version }) => ({ rule: id, version }))
}

function matchEvent(rules: AccountRules, event: RuleEvent): EventMatch {
  const occurred = occurredBy(event)
  const isWaited = rules.events.concerns(occurred)
  const isMember = rules.members.concerns(occurred)
  if (!isWaited && !isMember) return noMatch
  const data = dataOfEvent(event)
  const found = isWaited ? rules.events.match(occurred, data) : undefined
  const parts = isMember ? rules.members.match(occurred, data) : undefined
  const faults = [
    ...(found?.faults ?? []).map(({ rule, message }) => ({ rule: rule.id, version: rule.version, message })),
    ...(parts?.faults ?? []).flatMap(({ rule, message }) => {
      const member = rules.memberOf.get(rule.id)
      return member ? [{ rule: member.rule, version: member.version, message }] : []
    }),
  ]
  return {
    firings: (found?.matched ?? []).map(({ id, version }) => ({ rule: id, version })),
    members: (parts?.matched ?? []).flatMap(({ id }) => rules.memberOf.get(id) ?? []),
    faults,
  }
}

/** Of a signal that a silence or another signal keeps quiet: rules on signals pass it over. */
export function isSilenced({ type, data }: Pick<RuleEvent, "type" | "data">): boolean {
  const { silenced } = data as Readonly<Record<string, unknown>>
  return (type === "signal.raised" || type === "signal.cleared") && silenced !== undefined && silenced !== null
}

/** What has happened, as rules wait for it. */
export function occurredBy({ type, data }: Pick<RuleEvent, "type" | "data">): RuleTrigger[] {
  const { signal, webhook, trigger, schedule } = data as Readonly<Record<string, unknown>>
  const event: RuleTrigger = { on: "event", name: type }
  if (isSilenced({ type, data })) return [event]
  if (type === "signal.raised") return [event, { on: "signal", name: signalName(String(signal), "raised") }]
  if (type === "signal.cleared") return [event, { on: "signal", name: signalName(String(signal), "cleared") }]
  if (type === "webhook.received") return [event, { on: "webhook", name: String(webhook) }]
  if (type === "schedule.fired") return [event, { on: "schedule", name: String(schedule) }]
  return type === "trigger.fired" ? [event, { on: "trigger", name: String(trigger) }] : [event]
}

async function find(
  { sql, operations }: DirectoryOptions,
  present: LoadedRule | undefined,
  { account, firing }: { readonly account: string; readonly firing: Firing },
): Promise<PublishedRule | undefined> {
  const { rule, version } = firing
  if (present?.definition && present.row.version === version) {
    const { author, changedAt } = present.row
    const { definition } = present
    const variables = () => actionVariables(definition, operations)
    return { rule, version, author, definition, variables, publishedAt: changedAt }
  }
  const row = await findRuleVersion(sql, account, { name: rule, version })
  if (!row) return undefined
  const parsed = ruleDefinition.safeParse(row.definition)
  if (!parsed.success) return undefined
  const definition = parsed.data
  const variables = () => actionVariables(definition, operations)
  return { rule, version, author: row.author, definition, variables, publishedAt: row.publishedAt }
}
