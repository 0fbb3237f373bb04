import type { calendarsGet } from "@signalbox/contracts/calendars/change-calendars"
import type { OutputOf } from "@signalbox/contracts/operation"
import { toInstant } from "@signalbox/kernel/clock"
import { toIsoDuration } from "@signalbox/kernel/duration"
import type { CalendarRow } from "./change-calendar-store.ts"
import { isStale } from "./known-calendar.ts"

export type ChangeCalendar = OutputOf<typeof calendarsGet>

export function toCalendar(row: CalendarRow, now: number): ChangeCalendar {
  return {
    id: row.id,
    name: row.name,
    ...(row.description === null ? {} : { description: row.description }),
    default: row.defaultState,
    ...(row.zone === null ? {} : { zone: row.zone }),
    ...(row.url === null ? {} : { url: row.url }),
    ...(row.urlSecret === null ? {} : { urlSecret: row.urlSecret }),
    countTransparent: row.countTransparent,
    holds: row.holds.map(({ operations, workflows }) => ({
      operations: [...operations],
      ...(workflows === undefined ? {} : { workflows: [...workflows] }),
    })),
    ...(row.freezeTemplate === null ? {} : { freezeTemplate: row.freezeTemplate }),
    eventsCount: row.eventsCount,
    ignoredCount: row.ignoredCount,
    ...(row.refreshMs === null ? {} : { subscription: subscriptionOf(row, now) }),
    version: row.version,
    createdAt: toInstant(row.createdAt),
    changedAt: toInstant(row.changedAt),
    changedBy: row.changedBy,
  }
}

function subscriptionOf(row: CalendarRow, now: number): NonNullable<ChangeCalendar["subscription"]> {
  const { refreshMs, staleMs, fetchedAt, fetchAt, failedAt, failure } = row
  return {
    refreshEvery: toIsoDuration(refreshMs ?? 0),
    staleAfter: toIsoDuration(staleMs ?? 0),
    ...(fetchedAt === null
      ? {}
      : { fetchedAt: toInstant(fetchedAt), ageSeconds: Math.max(0, Math.round((now - fetchedAt) / 1000)) }),
    ...(fetchAt === null ? {} : { nextFetchAt: toInstant(fetchAt) }),
    ...(failedAt === null ? {} : { failedAt: toInstant(failedAt) }),
    ...(failure === null ? {} : { failure }),
    stale: isStale(row, now),
  }
}
