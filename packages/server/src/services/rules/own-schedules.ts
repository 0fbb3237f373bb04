/**
 * The schedules that rules have of their own. Another service keeps them: it is told after the commit what the rule has
 * now, and then the rule is read again, so that whoever told it last told what is in force, however many change the rule at
 * once. A server that dies in between leaves the job to another.
 */
import { ruleSchedulesKeep } from "@signalbox/contracts/calendars/rule-schedules"
import { schedulesPreview } from "@signalbox/contracts/calendars/schedules"
import { ruleDefinition, type RuleDefinition } from "@signalbox/contracts/rules/rule-document"
import { hasCode, isAppError, type Issue } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import type { CallContext } from "../../router/handler.ts"
import type { Consumer } from "../../storage/dispatcher.ts"
import type { Sql } from "../../storage/database.ts"
import type { DeliveredEvent } from "../../storage/outbox.ts"
import type { RulesOptions } from "./options.ts"
import { findRule, type RuleRow } from "./rule-store.ts"

/** What the events of rules tell. */
export interface RuleEventData {
  readonly name: string
  readonly version: number
  readonly enabled: boolean
  /** Whether it has or had schedules of its own. */
  readonly scheduled: boolean
}

export function ownSchedulesConsumer(options: Pick<RulesOptions, "caller">): Consumer {
  return {
    name: "rules.schedules",
    types: ["rule.created", "rule.changed", "rule.removed"],
    isWanted: ({ data }) => (data as RuleEventData).scheduled,
    handle: (event, { database, signal }) => keepSchedules(options, event, { sql: database, signal }),
  }
}

async function keepSchedules(
  { caller }: Pick<RulesOptions, "caller">,
  event: DeliveredEvent,
  { sql, signal }: { readonly sql: Sql; readonly signal: AbortSignal },
): Promise<void> {
  const { account, cause, id, depth } = event
  const { name: rule } = event.data as RuleEventData
  const as = { account, service: "rules", roles: ["timekeeper"], cause, causedBy: id, depth } as const
  let kept = ""
  while (true) {
    signal.throwIfAborted()
    const wanted = wantedOf(rule, await findRule(sql, account, rule), event.principal)
    if (canonicalJson(wanted) === kept) return
    await caller.call(ruleSchedulesKeep, wanted, as)
    kept = canonicalJson(wanted)
  }
}

function wantedOf(rule: string, row: RuleRow | undefined, principal: string) {
  if (!row) return { rule, author: principal, schedules: [] }
  const { enabled, author, definition } = row
  const { description } = definition as RuleDefinition
  return {
    ...{ rule, enabled, author, schedules: schedulesOf(definition) },
    ...(description === undefined ? {} : { description }),
  }
}

/** None of a rule that this program can't read. */
function schedulesOf(definition: unknown) {
  const parsed = ruleDefinition.safeParse(definition)
  return parsed.success ? (parsed.data.on ?? []).flatMap(({ schedule }) => schedule ?? []) : []
}

export function isScheduled({ definition }: Pick<RuleRow, "definition">): boolean {
  return schedulesOf(definition).length > 0
}

/** Timings that mean nothing, or no instant that is to come. */
export async function scheduleIssues(
  { caller }: Pick<RulesOptions, "caller">,
  { on = [] }: RuleDefinition,
  { account, cause, requestId, depth }: CallContext,
): Promise<Issue[]> {
  const as = { account, service: "rules", roles: ["viewer"], cause, causedBy: requestId, depth } as const
  const issues: Issue[] = []
  for (const [index, { schedule }] of on.entries()) {
    if (!schedule) continue
    const { cron, zone, every } = schedule
    const path = `on.${index}.schedule`
    try {
      const { items } = await caller.call(schedulesPreview, { cron, zone, every, count: 1 }, as)
      if (items.length === 0) issues.push({ path, message: "this timing has no instant that is still to come" })
    } catch (error) {
      if (!isAppError(error) || !hasCode(error, "calendars.invalid-timing")) throw error
      issues.push({ path, message: error.message })
    }
  }
  return issues
}
