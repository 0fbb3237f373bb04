/**
 * Carries out firings. An event may come twice and this process may die on any line: a firing has one outcome, its call
 * has one idempotency key, and before a call is repeated the audit record is asked whether it was carried out.
 */
import { executionsGet, executionStatesTerminal } from "@signalbox/contracts/workflows/operations"
import type { RoleName } from "@signalbox/contracts/identity/roles"
import { permissionsOf } from "@signalbox/contracts/identity/roles"
import { AppError, hasCode, isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { newId } from "@signalbox/kernel/id"
import type { Caller } from "../../router/handler.ts"
import type { Consumer } from "../../storage/dispatcher.ts"
import { appendEvents } from "../../storage/outbox.ts"
import { endFiring, findFiring, markCalled, type FiringEnd, type FiringRow } from "./firing-store.ts"
import { firingDueEvent } from "./make-firing.ts"
import type { CalendarsContext } from "./options.ts"
import { findSchedule, settleSchedule, type ScheduleRow } from "./schedule-store.ts"

const reasonCharactersMax = 500

export function firingConsumer(context: CalendarsContext): Consumer {
  return {
    name: "calendars.fire",
    types: [firingDueEvent],
    handle: (event) => runFiring(context, event.aggregateId, event.subject),
  }
}

/** Gives a pending firing its outcome. Throws where it has to be tried again. */
export async function runFiring(context: CalendarsContext, scheduleId: string, id: string): Promise<void> {
  const firing = await findFiring(context.database, scheduleId, id)
  if (firing?.outcome !== "pending") return
  const end = (await findEnd(context, firing)) ?? (await call(context, firing))
  await record(context, firing, end)
}

/** The outcome of a firing that is not to be called, or was already. */
async function findEnd(context: CalendarsContext, firing: FiringRow): Promise<FiringEnd | undefined> {
  if (firing.called) {
    const started = await findStarted(context, firing)
    if (started !== undefined) return { outcome: "started", started }
  }
  const schedule = await findSchedule(context.database, firing.account, firing.schedule)
  if (schedule?.id !== firing.scheduleId) return { outcome: "skipped", reason: "the schedule was removed" }
  if (!schedule.enabled) return { outcome: "skipped", reason: "the schedule was paused" }
  const now = context.clock.now()
  if (now >= firing.startBefore)
    return { outcome: "missed", reason: "it could not start within the schedule's startWithin" }
  return (await findOverlap(context, schedule, firing)) ?? findClosedWindow(context, schedule, now)
}

function findStarted({ caller, database }: CalendarsContext, firing: FiringRow): Promise<string | undefined> {
  const { account, cause, id } = firing
  return caller.findStandingChange(database, { account, cause, causedBy: id })
}

function findClosedWindow(context: CalendarsContext, schedule: ScheduleRow, now: number): FiringEnd | undefined {
  const { account, windows } = schedule
  if (context.windows.stateOf(account, windows, now).open) return undefined
  return { outcome: "skipped", reason: `outside of its maintenance windows (${windows.join(", ")})` }
}

async function findOverlap(
  { caller }: CalendarsContext,
  schedule: ScheduleRow,
  firing: FiringRow,
): Promise<FiringEnd | undefined> {
  const { overlap, lastStarted, account } = schedule
  if (overlap === "allow" || !lastStarted?.startsWith("exe_")) return undefined
  const { cause, id, depth } = firing
  const as = { account, service: "calendars", roles: ["viewer"], cause, causedBy: id, depth: depth + 1 } as const
  try {
    const { state } = await caller.call(executionsGet, { execution: lastStarted }, as)
    const ended: readonly string[] = executionStatesTerminal
    return ended.includes(state)
      ? undefined
      : { outcome: "skipped", reason: `${lastStarted}, which the firing before has started, is ${state}` }
  } catch (error) {
    // Past its retention.
    if (hasCode(error, "executions.not-found")) return undefined
    throw error
  }
}

async function call(context: CalendarsContext, firing: FiringRow): Promise<FiringEnd> {
  try {
    const caller = await findCaller(context, firing)
    assert(firing.operation !== null, "a rule's schedule calls nothing")
    await markCalled(context.database, firing.scheduleId, firing.id)
    const reply = await context.caller.callStanding({
      operation: firing.operation,
      input: firing.input,
      caller,
      idempotencyKey: firing.id,
      cause: firing.cause,
      causedBy: firing.id,
      depth: firing.depth + 1,
    })
    if (reply.status === "held") return { outcome: "held", requestUrl: reply.requestUrl }
    return { outcome: "started", started: await findStarted(context, firing) }
  } catch (error) {
    // The connection may have been lost at the commit.
    const started = await findStarted(context, firing)
    if (started !== undefined) return { outcome: "started", started }
    if (!isAppError(error)) {
      context.logger.error({ err: error, firing: firing.id }, "a firing failed inside Signalbox")
      return { outcome: "failed", code: "request.internal", reason: "the call failed inside Signalbox" }
    }
    if (error.entry.retryable) throw error
    return { outcome: "failed", code: error.code, reason: error.message.slice(0, reasonCharactersMax) }
  }
}

/** The schedule as a caller, with those roles of its author's that the author still has. */
async function findCaller({ clock, database, principals }: CalendarsContext, firing: FiringRow): Promise<Caller> {
  const { account, schedule: name } = firing
  const schedule = await findSchedule(database, account, name)
  const author = schedule && principals.findPrincipal(account, schedule.author, clock.now())
  if (!author)
    throw new AppError(
      "calendars.author-refused",
      `${schedule?.author ?? "its author"}, in whose name "${name}" fires, was revoked or has expired; apply it again with another key`,
    )
  const roles = schedule.authorRoles.filter((role): role is RoleName => author.roles.includes(role as RoleName))
  const permissions = permissionsOf(roles)
  return { account, principal: `schedule:${name}`, kind: "schedule", roles, permissions, author: author.principal }
}

async function record(context: CalendarsContext, firing: FiringRow, end: FiringEnd): Promise<void> {
  const { clock, random, database } = context
  await database.transaction(async (tx) => {
    const { scheduleId, id, account, schedule, cause, depth } = firing
    const row = await endFiring(tx, { scheduleId, id, end, now: clock.now() })
    if (!row) return
    await settleSchedule(tx, { account, firing: id, started: end.started ?? null })
    await appendEvents(tx, [
      {
        id: newId("event", clock, random),
        account,
        aggregateId: scheduleId,
        type: `firing.${end.outcome}`,
        subject: id,
        subjectVersion: 2,
        cause,
        causedBy: id,
        depth: depth + 1,
        principal: `schedule:${schedule}`,
        data: { name: schedule, operation: firing.operation, ...end, outcome: undefined },
      },
    ])
  })
  context.hint()
}
