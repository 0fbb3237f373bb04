import { assert } from "@signalbox/kernel/assert"
import { toInstant } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { ChangeContext } from "../../router/handler.ts"
import type { Tx } from "../../storage/database.ts"
import { appendEvents } from "../../storage/outbox.ts"
import { decideDue, type DueDecision } from "./due-model.ts"
import { insertFiring, type FiringRow } from "./firing-store.ts"
import type { CalendarsContext } from "./options.ts"
import { advanceSchedule, lockDueSchedules, type ScheduleRow } from "./schedule-store.ts"
import { dueOf } from "./schedule-wire.ts"

/**
 * Makes firings: a row, the event that a consumer carries out, and the schedule's next instant, in one transaction. The
 * schedule's row is locked meanwhile and an instant has one firing at most, so any number of servers may do this.
 */
export const firingDueEvent = "firing.due"

/** The instant of a rule's schedule, for which the rule waits. */
const scheduleFiredEvent = "schedule.fired"

const claimedMax = 50
/** Missed instants are told of by a count up to this one. */
const countedMax = 1_000

type Making = Pick<CalendarsContext, "clock" | "random" | "logger">

/** Schedules that this server can't understand, and when it looks at each again. */
export type Unreadable = Map<string, number>

const unreadableMilliseconds = 600_000
const unreadableMax = 10_000

/** Decides about the schedules that are due. True where more may wait. */
export async function makeDueFirings(tx: Tx, context: Making, unreadable: Unreadable = new Map()): Promise<boolean> {
  const now = context.clock.now()
  for (const [id, until] of unreadable) if (until <= now) unreadable.delete(id)
  const rows = await lockDueSchedules(tx, { now, limit: claimedMax, without: [...unreadable.keys()] })
  for (const row of rows) {
    const decision = decide(context, row, now)
    if (decision === undefined) {
      if (unreadable.size < unreadableMax) unreadable.set(row.id, now + unreadableMilliseconds)
      continue
    }
    const missed = await recordMissed(tx, { context, row, now, decision })
    const fired =
      decision.fire === undefined ? undefined : await makeFiring(tx, { context, row, now, dueAt: decision.fire })
    await advanceSchedule(tx, {
      account: row.account,
      name: row.name,
      nextAt: decision.nextAt,
      pendingFiring: fired?.outcome === "pending" ? fired.id : null,
      lastFiring: fired?.id ?? missed?.id ?? null,
    })
  }
  return rows.length === claimedMax
}

/** One schedule that can't be understood (a newer server wrote it, a zone is unknown) must not keep others from firing. */
function decide({ logger }: Making, row: ScheduleRow, now: number): DueDecision | undefined {
  try {
    return decideDue(dueOf(row), now)
  } catch (error) {
    logger.error({ err: error, schedule: row.id }, "a schedule can't be understood; it fires nothing")
    return undefined
  }
}

interface Step {
  readonly context: Making
  readonly row: ScheduleRow
  readonly now: number
}

async function makeFiring(tx: Tx, step: Step & { readonly dueAt: number }): Promise<FiringRow | undefined> {
  const { context, row, now, dueAt } = step
  const id = newId("firing", context.clock, context.random)
  const story = { cause: id, causedBy: row.id, depth: 0 }
  if (row.rule !== null) return setRuleGoing(tx, { ...step, id, dueAt, ...story, principal: `schedule:${row.name}` })
  const firing = await insertFiring(tx, {
    ...firingOf(row, { id, now, dueAt }),
    ...{ input: row.input, outcome: "pending", reason: null, instantsCount: 1, started: null, ...story },
  })
  if (!firing) return undefined
  await tell(tx, { context, row, firing, type: firingDueEvent })
  return firing
}

type RuleFiring = Step &
  Pick<FiringRow, "id" | "dueAt" | "cause" | "causedBy" | "depth"> & { readonly principal: string }

/** Of a rule's schedule: the firing has its outcome with the event that the rule waits for. */
async function setRuleGoing(tx: Tx, of: RuleFiring): Promise<FiringRow | undefined> {
  const { context, row, now, id, dueAt, cause, causedBy, depth, principal } = of
  const eventId = newId("event", context.clock, context.random)
  const firing = await insertFiring(tx, {
    ...firingOf(row, { id, now, dueAt }),
    ...{ input: null, outcome: "started", reason: null, instantsCount: 1, started: eventId, cause, causedBy, depth },
  })
  if (!firing) return undefined
  const data = { schedule: row.name, rule: row.rule, dueAt: toInstant(dueAt ?? now) }
  await appendEvents(tx, [
    {
      ...{ id: eventId, account: row.account, aggregateId: row.id, type: scheduleFiredEvent, subject: id },
      ...{ subjectVersion: 1, cause, causedBy, depth, principal, data },
    },
  ])
  return firing
}

async function recordMissed(tx: Tx, step: Step & { readonly decision: DueDecision }): Promise<FiringRow | undefined> {
  const { context, row, now, decision } = step
  const { missed } = decision
  if (missed === undefined) return undefined
  const id = newId("firing", context.clock, context.random)
  const firing = await insertFiring(tx, {
    ...firingOf(row, { id, now, dueAt: missed.last }),
    input: null,
    outcome: "missed",
    reason: missedReason(missed, row),
    instantsCount: missed.count,
    started: null,
    cause: id,
    causedBy: row.id,
    depth: 0,
  })
  if (firing) await tell(tx, { context, row, firing, type: "firing.missed" })
  return firing
}

function missedReason(missed: NonNullable<DueDecision["missed"]>, { catchUp }: ScheduleRow): string {
  const { first, last, count } = missed
  const why = `nothing could fire in time, and catchUp is ${catchUp}`
  if (count === 1) return why
  const many = count >= countedMax ? `${countedMax} or more` : String(count)
  return `${many} instants from ${toInstant(first)} to ${toInstant(last)}: ${why}`
}

function firingOf(row: ScheduleRow, of: { id: string; now: number; dueAt: number | null }) {
  return {
    scheduleId: row.id,
    id: of.id,
    account: row.account,
    schedule: row.name,
    dueAt: of.dueAt,
    createdAt: of.now,
    startBefore: (of.dueAt ?? of.now) + row.startWithinMs,
    operation: row.operation,
  }
}

async function tell(tx: Tx, of: { context: Making; row: ScheduleRow; firing: FiringRow; type: string }): Promise<void> {
  const { context, row, firing, type } = of
  await appendEvents(tx, [
    {
      id: newId("event", context.clock, context.random),
      account: row.account,
      aggregateId: row.id,
      type,
      subject: firing.id,
      subjectVersion: 1,
      cause: firing.cause,
      causedBy: firing.causedBy,
      depth: firing.depth,
      principal: `schedule:${row.name}`,
      data: dataOf(firing),
    },
  ])
}

function dataOf({ schedule, operation, dueAt, createdAt, reason }: FiringRow): Record<string, unknown> {
  const called = operation === null ? {} : { operation }
  return { name: schedule, ...called, dueAt: toInstant(dueAt ?? createdAt), ...(reason === null ? {} : { reason }) }
}

/** A firing that somebody asked for; the caller holds the schedule's lock and has seen that none is pending. */
export async function makeManualFiring(
  context: CalendarsContext,
  ctx: ChangeContext,
  row: ScheduleRow,
): Promise<FiringRow> {
  const { tx, now, cause, requestId: causedBy, depth, caller } = ctx
  const id = newId("firing", context.clock, context.random)
  const story = { cause, causedBy, depth }
  const isOfRule = row.rule !== null
  const firing = isOfRule
    ? await setRuleGoing(tx, { context, row, now, id, dueAt: null, ...story, principal: caller.principal })
    : await insertFiring(tx, {
        ...firingOf(row, { id, now, dueAt: null }),
        ...{ input: row.input, outcome: "pending", reason: null, instantsCount: 1, started: null, ...story },
      })
  assert(firing, "a firing without an instant meets no other")
  const { account, name, nextAt } = row
  await advanceSchedule(tx, { account, name, nextAt, pendingFiring: isOfRule ? null : id, lastFiring: id })
  if (isOfRule) return firing
  ctx.emit({ aggregate: row.id, type: firingDueEvent, subject: id, version: 1, data: dataOf(firing) })
  return firing
}
