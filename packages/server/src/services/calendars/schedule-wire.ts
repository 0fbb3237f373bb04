import type { schedulesFire, schedulesGet } from "@signalbox/contracts/calendars/schedules"
import type { OutputOf } from "@signalbox/contracts/operation"
import { assert } from "@signalbox/kernel/assert"
import { toInstant } from "@signalbox/kernel/clock"
import { toIsoDuration } from "@signalbox/kernel/duration"
import type { DueSchedule } from "./due-model.ts"
import type { FiringRow } from "./firing-store.ts"
import type { ScheduleRow } from "./schedule-store.ts"
import type { Occurrences, Timing } from "./timing.ts"

export type Firing = OutputOf<typeof schedulesFire>
export type Schedule = OutputOf<typeof schedulesGet>

type TimingColumns = Pick<ScheduleRow, "cron" | "at" | "everyMs" | "zone" | "fromAt" | "untilAt" | "createdAt">

/** A row as the instants that it stands for. */
export function occurrencesOf(row: TimingColumns): Occurrences {
  return { timing: timingOf(row), from: row.fromAt, until: row.untilAt }
}

function timingOf({ cron, at, everyMs, zone, fromAt, createdAt }: TimingColumns): Timing {
  if (cron !== null && zone !== null) return { kind: "cron", cron, zone }
  if (at !== null) return { kind: "once", at }
  assert(everyMs !== null, "a schedule is by cron, once, or every so often")
  return { kind: "every", everyMilliseconds: everyMs, anchor: fromAt ?? createdAt }
}

export function dueOf(row: ScheduleRow): DueSchedule {
  assert(row.nextAt !== null, "a schedule that is due has an instant")
  return {
    ...occurrencesOf(row),
    nextAt: row.nextAt,
    catchUp: row.catchUp,
    catchUpMax: row.catchUpMax,
    startWithinMilliseconds: row.startWithinMs,
  }
}

export function toFiring(row: FiringRow): Firing {
  return {
    id: row.id,
    schedule: row.schedule,
    dueAt: toInstant(row.dueAt ?? row.createdAt),
    manual: row.dueAt === null,
    outcome: row.outcome,
    ...(row.firedAt === null ? {} : { firedAt: toInstant(row.firedAt) }),
    ...(row.started === null ? {} : { started: row.started }),
    ...(row.requestUrl === null ? {} : { requestUrl: row.requestUrl }),
    ...(row.code === null ? {} : { code: row.code }),
    ...(row.reason === null ? {} : { reason: row.reason }),
    instantsCount: row.instantsCount,
    cause: row.cause,
  }
}

const stateOf = (row: ScheduleRow): Schedule["state"] => {
  if (!row.enabled) return "paused"
  return row.nextAt === null ? "ended" : "active"
}

export function toSchedule(row: ScheduleRow, lastFiring: FiringRow | undefined): Schedule {
  return {
    id: row.id,
    name: row.name,
    ...(row.description === null ? {} : { description: row.description }),
    ...(row.cron === null ? {} : { cron: row.cron }),
    ...(row.at === null ? {} : { at: toInstant(row.at) }),
    ...(row.everyMs === null ? {} : { every: toIsoDuration(row.everyMs) }),
    ...(row.zone === null ? {} : { zone: row.zone }),
    ...(row.fromAt === null ? {} : { from: toInstant(row.fromAt) }),
    ...(row.untilAt === null ? {} : { until: toInstant(row.untilAt) }),
    catchUp: row.catchUp,
    catchUpMax: row.catchUpMax,
    startWithin: toIsoDuration(row.startWithinMs),
    overlap: row.overlap,
    windows: [...row.windows],
    ...(row.rule === null ? {} : { rule: row.rule }),
    ...(row.operation === null ? {} : { call: { operation: row.operation, input: row.input } }),
    state: stateOf(row),
    ...(row.pausedReason === null ? {} : { reason: row.pausedReason }),
    ...(row.nextAt === null || !row.enabled ? {} : { nextAt: toInstant(row.nextAt) }),
    ...(lastFiring === undefined ? {} : { lastFiring: toFiring(lastFiring) }),
    author: row.author,
    authorRoles: [...row.authorRoles],
    version: row.version,
    createdAt: toInstant(row.createdAt),
    changedAt: toInstant(row.changedAt),
  }
}
