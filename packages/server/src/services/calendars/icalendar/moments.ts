import type { Property } from "./content-lines.ts"
import { documentFault } from "./document-fault.ts"

/**
 * Times as iCalendar writes them. A wall time is what a clock shows, as milliseconds as if the clock were in UTC; a
 * zone makes an instant of it.
 */
export interface Moment {
  /** date: a whole day; local: by the clock of a zone, or of whoever looks; utc: an instant. */
  readonly kind: "date" | "local" | "utc"
  readonly wall: number
  readonly zoneName?: string
}

/** Whole days by the clock, and elapsed time after them. */
export interface Span {
  readonly days: number
  readonly milliseconds: number
}

export const dayMilliseconds = 86_400_000

const momentPattern = /^(\d{4})(\d{2})(\d{2})(?:T(\d{2})(\d{2})(\d{2})(Z)?)?$/

/** @throws calendars.invalid-document */
export function parseMoment(text: string, { name, parameters, line }: Omit<Property, "value">): Moment {
  const match = momentPattern.exec(text.trim())
  if (!match)
    throw documentFault(line, `${name} "${text.slice(0, 40)}" is no date, such as 20300131 or 20300131T180000`)
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match
    .slice(1, 7)
    .map((part) => Number(part ?? 0))
  const wall = Date.UTC(year, month - 1, day, hour, minute, Math.min(second, 59))
  const isReal = new Date(wall).toISOString().startsWith(`${match[1]}-${match[2]}-${match[3]}`)
  if (year < 1 || !isReal || hour > 23 || minute > 59 || second > 60)
    throw documentFault(line, `${name} "${text}" is a time that there isn't`)
  if (match[4] === undefined) return { kind: "date", wall }
  if (match[7] === "Z") return { kind: "utc", wall }
  const zoneName = parameters.get("TZID")
  return { kind: "local", wall, ...(zoneName === undefined ? {} : { zoneName }) }
}

const spanPattern = /^([+-])?P(?:(\d{1,4})W)?(?:(\d{1,5})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,9})S)?)?$/

/** @throws calendars.invalid-document where it is no duration, or a negative one */
export function parseSpan(text: string, { name, line }: Pick<Property, "name" | "line">): Span {
  const match = spanPattern.exec(text.trim())
  const isGiven = match?.slice(2).some((part) => part !== undefined) === true
  if (!match || !isGiven)
    throw documentFault(line, `${name} "${text.slice(0, 40)}" is no duration, such as PT8H or P2D`)
  if (match[1] === "-") throw documentFault(line, `${name} "${text}" is less than nothing`)
  const [weeks = 0, days = 0, hours = 0, minutes = 0, seconds = 0] = match.slice(2).map((part) => Number(part ?? 0))
  return { days: weeks * 7 + days, milliseconds: ((hours * 60 + minutes) * 60 + seconds) * 1000 }
}

const offsetPattern = /^([+-])(\d{2})(\d{2})(\d{2})?$/

/** Milliseconds by which a zone's clock is ahead of UTC. @throws calendars.invalid-document */
export function parseOffset({ name, value, line }: Property): number {
  const match = offsetPattern.exec(value)
  if (!match) throw documentFault(line, `${name} "${value.slice(0, 40)}" is no offset, such as +0100`)
  const [hours = 0, minutes = 0, seconds = 0] = match.slice(2).map((part) => Number(part ?? 0))
  return (match[1] === "-" ? -1 : 1) * ((hours * 60 + minutes) * 60 + seconds) * 1000
}

/** A wall time as iCalendar writes it. @example wallText(0) // "19700101T000000" */
export function wallText(wall: number): string {
  return new Date(wall).toISOString().replaceAll(/[-:]|\.\d{3}Z$/g, "")
}
