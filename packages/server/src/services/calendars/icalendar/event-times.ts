import type { EventLength } from "./calendar-event.ts"
import { findProperty, type Component } from "./components.ts"
import type { Property } from "./content-lines.ts"
import { documentFault } from "./document-fault.ts"
import type { MomentReader } from "./moment-reader.ts"
import { dayMilliseconds, parseMoment, parseSpan, type Moment } from "./moments.ts"
import { toInstant, toWall, type Zone } from "./zone.ts"

interface EventStart {
  readonly start: Moment
  readonly zone: Zone
  readonly moments: MomentReader
}

/**
 * How long an event lasts: until the clock shows its end, as every calendar program shows it, unless a DURATION says
 * how many hours, or start and end are by different clocks. @throws calendars.invalid-document
 */
export function readLength(component: Component, { start, zone, moments }: EventStart): EventLength {
  const end = findProperty(component, "DTEND")
  const duration = findProperty(component, "DURATION")
  if (end && duration) throw documentFault(duration.line, "an event has a DTEND or a DURATION, not both")
  if (duration) return { kind: "elapsed", ...parseSpan(duration.value, duration) }
  if (!end) return { kind: "clock", milliseconds: start.kind === "date" ? dayMilliseconds : 0 }
  const moment = parseMoment(end.value, end)
  const endZone = moments.zoneOf(moment, end, zone)
  const isSameClock = endZone.key === zone.key
  const milliseconds = isSameClock
    ? moment.wall - start.wall
    : toInstant(endZone, moment.wall) - toInstant(zone, start.wall)
  if (milliseconds < 0) throw documentFault(end.line, "the event ends before it begins")
  // Some programs write a single whole day so.
  if (milliseconds === 0 && start.kind === "date") return { kind: "clock", milliseconds: dayMilliseconds }
  return isSameClock ? { kind: "clock", milliseconds } : { kind: "elapsed", days: 0, milliseconds }
}

/** One value of an RDATE: a start, or a period `start/end` or `start/duration`. @throws calendars.invalid-document */
export function readPeriod(
  text: string,
  { property, zone, moments }: { readonly property: Property; readonly zone: Zone; readonly moments: MomentReader },
): { readonly start: number; readonly end?: number } {
  const [from = "", to] = text.split("/")
  const moment = parseMoment(from, property)
  const startZone = moments.zoneOf(moment, property, zone)
  const start = toInstant(startZone, moment.wall)
  if (to === undefined) return { start }
  if (!/^[+-]?P/.test(to.trim()))
    return { start, end: moments.instantOf(parseMoment(to, property), property, startZone) }
  const { days, milliseconds } = parseSpan(to, property)
  return { start, end: toInstant(startZone, toWall(startZone, start) + days * dayMilliseconds) + milliseconds }
}
