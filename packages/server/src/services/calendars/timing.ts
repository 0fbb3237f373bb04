import { AppError } from "@signalbox/kernel/app-error"
import { Cron } from "croner"

/**
 * When something comes round. Pure. A cron text means the clock of its zone, by these rules where the clock changes: a
 * time that doesn't exist comes at the first instant after the gap; of a time that occurs twice the first occurrence
 * counts, unless every minute of a kind is meant (`*` or `/` in the minutes with any hour), which goes on in real time.
 */
export type Timing =
  | { readonly kind: "cron"; readonly cron: string; readonly zone: string }
  | { readonly kind: "every"; readonly everyMilliseconds: number; readonly anchor: number }
  | { readonly kind: "once"; readonly at: number }

export interface Occurrences {
  readonly timing: Timing
  /** Instants outside of these bounds don't count; the bounds themselves do. */
  readonly from?: number | null
  readonly until?: number | null
}

/** Instants that one question walks over at most. */
export const instantsWalkedMax = 1_000

/** The first instant after `after`, or null where none is left. */
export function nextInstant({ timing, from, until }: Occurrences, after: number): number | null {
  const start = from === undefined || from === null ? after : Math.max(after, from - 1)
  const next = nextOf(timing, start)
  return next === null || (until !== undefined && until !== null && next > until) ? null : next
}

function nextOf(timing: Timing, after: number): number | null {
  switch (timing.kind) {
    case "once":
      return timing.at > after ? timing.at : null
    case "every": {
      const { everyMilliseconds, anchor } = timing
      return after < anchor
        ? anchor
        : anchor + (Math.floor((after - anchor) / everyMilliseconds) + 1) * everyMilliseconds
    }
    case "cron": {
      // Whole seconds: the instants of a pattern have no fractions.
      const next = compile(timing.cron, timing.zone).nextRun(new Date(Math.floor(after / 1000) * 1000))
      return next === null ? null : next.getTime()
    }
  }
}

/** The instants in (after, until], the oldest first, `limit` at most. */
export function instantsFrom(of: Occurrences, range: { after: number; until: number; limit: number }): number[] {
  const found: number[] = []
  let at = nextInstant(of, range.after)
  while (at !== null && at <= range.until && found.length < range.limit) {
    found.push(at)
    at = nextInstant(of, at)
  }
  return found
}

const firstLookMilliseconds = 3_600_000

/** The last instants in (after, until], the oldest first, `limit` at most: found by looking back ever further. */
export function lastInstants(of: Occurrences, range: { after: number; until: number; limit: number }): number[] {
  const { after, until, limit } = range
  for (let back = firstLookMilliseconds; ; back *= 4) {
    const start = Math.max(after, until - back)
    let last: number[] = []
    let at = nextInstant(of, start)
    while (at !== null && at <= until) {
      last.push(at)
      if (last.length >= 2 * limit) last = last.slice(-limit)
      at = nextInstant(of, at)
    }
    if (last.length >= limit || start === after) return last.slice(-limit)
  }
}

/** @throws calendars.invalid-timing */
export function compile(cron: string, zone: string): Cron {
  try {
    return new Cron(cron, { timezone: zone, paused: true, mode: "5-part" })
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.replace(/^Cron(?:Pattern|Date): /, "") : "it can't be read"
    throw new AppError("calendars.invalid-timing", `"${cron}" is no cron text: ${why}`, {
      cause,
      issues: [{ path: "cron", message: why }],
    })
  }
}
