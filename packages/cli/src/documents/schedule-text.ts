import { stringify } from "yaml"
import { durationText } from "./duration-text.ts"

interface ScheduleLike {
  readonly name: string
  readonly description?: string | undefined
  readonly cron?: string | undefined
  readonly at?: string | undefined
  readonly every?: string | undefined
  readonly zone?: string | undefined
  readonly from?: string | undefined
  readonly until?: string | undefined
  readonly catchUp: string
  readonly catchUpMax: number
  readonly startWithin: string
  readonly overlap: string
  readonly windows: readonly string[]
  readonly enabled?: boolean | undefined
  /** Absent of a rule's. */
  readonly call?: { readonly operation: string; readonly input: Readonly<Record<string, unknown>> } | undefined
}

/** A schedule as a document, always written the same way, so that two of them can be compared. */
export function scheduleText(schedule: ScheduleLike): string {
  const { name, description, cron, at, every, zone, from, until, enabled } = schedule
  const given = { description, cron, at, every: every && durationText(every), zone, from, until, enabled }
  return stringify({
    kind: "Schedule",
    name,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    catchUp: schedule.catchUp,
    catchUpMax: schedule.catchUpMax,
    startWithin: durationText(schedule.startWithin),
    overlap: schedule.overlap,
    windows: schedule.windows,
    ...(schedule.call && { call: { operation: schedule.call.operation, input: sorted(schedule.call.input) } }),
  })
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, sorted(member)]),
  )
}
