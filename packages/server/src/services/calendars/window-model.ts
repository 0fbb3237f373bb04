import { nextInstant, type Timing } from "./timing.ts"
import { localDate } from "./zone-clock.ts"

/** Maintenance windows as intervals of time. Pure. */
export interface WindowSpec {
  readonly timing: Timing
  readonly zone: string
  readonly durationMilliseconds: number
  readonly cutoffMilliseconds: number
  readonly excludedDates: ReadonlySet<string>
}

/** Holds from `from` on; `until` is when it has to be found out anew, null where it holds for ever. */
export interface WindowSegment {
  readonly state: "open" | "closing" | "closed"
  readonly from: number
  readonly until: number | null
  /** Of an open one: when nothing new starts any more, and when it closes. */
  readonly startsUntil?: number
  readonly closesAt?: number
  /** The next opening after now; null where there is none. */
  readonly opensAt: number | null
}

/** Openings that are joined where they overlap. */
const openingsJoinedMax = 100

/** The state of a window at an instant. Openings that overlap or touch are one. */
export function segmentAt(spec: WindowSpec, now: number): WindowSegment {
  const { durationMilliseconds, cutoffMilliseconds } = spec
  let closesAt: number | undefined
  let start = nextOpening(spec, now - durationMilliseconds)
  for (let joined = 0; start !== null && joined < openingsJoinedMax; joined++) {
    if (start > now && (closesAt === undefined || start > closesAt)) break
    closesAt = start + durationMilliseconds
    start = nextOpening(spec, start)
  }
  if (closesAt === undefined) return { state: "closed", from: now, until: start, opensAt: start }
  const startsUntil = closesAt - cutoffMilliseconds
  const open = now < startsUntil
  const until = open ? startsUntil : closesAt
  return { state: open ? "open" : "closing", from: now, until, startsUntil, closesAt, opensAt: start }
}

/** The first opening after an instant, on a date that is not excluded. */
function nextOpening({ timing, zone, excludedDates }: WindowSpec, after: number): number | null {
  let at = nextInstant({ timing }, after)
  if (excludedDates.size === 0) return at
  while (at !== null && excludedDates.has(localDate(at, zone))) at = nextInstant({ timing }, lastHourOf(at, zone))
  return at
}

const hourMilliseconds = 3_600_000

/** An instant in the last hour of the same date, so that an excluded date is left in few steps. */
function lastHourOf(at: number, zone: string): number {
  const date = localDate(at, zone)
  let last = at
  while (localDate(last + hourMilliseconds, zone) === date) last += hourMilliseconds
  return last
}
