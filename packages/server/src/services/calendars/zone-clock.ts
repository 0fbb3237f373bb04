import type { Timing } from "./timing.ts"
import { compile } from "./timing.ts"

/** An instant by the clock of a zone, and what the clock's changes do to it. Pure. */
const formatters = new Map<string, Intl.DateTimeFormat>()
const formattersMax = 500

function formatterOf(zone: string): Intl.DateTimeFormat {
  const known = formatters.get(zone)
  if (known) return known
  const made = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone,
    calendar: "iso8601",
    hourCycle: "h23",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  })
  if (formatters.size >= formattersMax) formatters.clear()
  formatters.set(zone, made)
  return made
}

/** The clock of the zone at an instant of whole seconds, as if it were UTC. */
export function wallTime(at: number, zone: string): number {
  const parts = new Map(
    formatterOf(zone)
      .formatToParts(at)
      .map(({ type, value }) => [type, Number(value)]),
  )
  const part = (name: Intl.DateTimeFormatPartTypes): number => parts.get(name) ?? 0
  return Date.UTC(part("year"), part("month") - 1, part("day"), part("hour"), part("minute"), part("second"))
}

/** @example localDate(Date.UTC(2026, 2, 28, 23, 30), "Europe/Berlin") // "2026-03-29" */
export function localDate(at: number, zone: string): string {
  return new Date(wallTime(at, zone)).toISOString().slice(0, 10)
}

/** @example localText(Date.UTC(2026, 2, 29, 1), "Europe/Berlin") // "2026-03-29T03:00:00+02:00" */
export function localText(at: number, zone: string): string {
  const wall = wallTime(at, zone)
  const minutes = Math.round((wall - at) / 60_000)
  const size = Math.abs(minutes)
  const two = (value: number): string => String(value).padStart(2, "0")
  const offset = `${minutes < 0 ? "-" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`
  return `${new Date(wall).toISOString().slice(0, 19)}${offset}`
}

const hourMilliseconds = 3_600_000

/** What a change of the clock does to an instant of a timing; undefined where it does nothing. */
export function clockNote(timing: Timing, at: number): string | undefined {
  if (timing.kind !== "cron") return undefined
  const { cron, zone } = timing
  if (!compile(cron, zone).match(new Date(at))) {
    return "the clock is put forward over the given time, which doesn't exist on this day: fires once, right after"
  }
  const wall = wallTime(at, zone)
  for (const distance of [hourMilliseconds / 2, hourMilliseconds]) {
    if (wallTime(at + distance, zone) === wall)
      return "the clock is put back: of this local time, which comes twice, the first"
    if (wallTime(at - distance, zone) === wall) return "the clock is put back: this local time comes the second time"
  }
  return undefined
}
