import type { RRuleTemporal } from "rrule-temporal"
import type { Property } from "./content-lines.ts"
import { documentFault } from "./document-fault.ts"
import { dayMilliseconds, parseMoment, wallText, type Moment } from "./moments.ts"

/**
 * Recurrence rules (RFC 5545, 3.3.10), worked out by the library `rrule-temporal` over wall times: what the zone's clock
 * does is no matter of the rule. Every walk is bounded.
 */
export interface Recurrence {
  /** The rule as it is understood, the same for the same meaning. */
  readonly key: string
  /** Wall times in [from, to], in order. @throws calendars.invalid-document where it costs too much */
  startsBetween(from: number, to: number): number[]
  /** The first wall time after this one, within `aheadYears`. @throws calendars.invalid-document where it costs too much */
  nextStart(after: number): number | undefined
}

/** Gives the library, loaded when the first calendar needs it. */
export async function loadRecurrenceLibrary(): Promise<RecurrenceLibrary> {
  return await import("rrule-temporal")
}

export interface RecurrenceLibrary {
  readonly RRuleTemporal: typeof RRuleTemporal
}

export const recurrenceLimits = {
  /** Of `COUNT`: such a rule is walked from its beginning. */
  countMax: 5_000,
  /** How far ahead the next time is looked for: February 29 may be eight years off. */
  aheadYears: 12,
  /** Periods and candidates that one question to a rule may cost. */
  stepsMax: 50_000,
  candidatesMax: 100_000,
} as const

const frequencies = ["HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"]
const weekdays = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
const valuesMax = 400

/** By part: what one of its values may be. The library leaves out what it doesn't understand; here it is refused. */
const partValues: Readonly<Record<string, (value: string) => boolean>> = {
  FREQ: (value) => frequencies.includes(value),
  INTERVAL: between(1, 99_999),
  BYSECOND: between(0, 59),
  BYMINUTE: between(0, 59),
  BYHOUR: between(0, 23),
  BYDAY: isOrdinalDay,
  BYMONTHDAY: fromEitherEnd(31),
  BYYEARDAY: fromEitherEnd(366),
  BYWEEKNO: fromEitherEnd(53),
  BYMONTH: between(1, 12),
  BYSETPOS: fromEitherEnd(366),
  WKST: (value) => weekdays.includes(value),
}

function between(least: number, most: number): (value: string) => boolean {
  return (value) => /^\d{1,5}$/.test(value) && Number(value) >= least && Number(value) <= most
}

function fromEitherEnd(most: number): (value: string) => boolean {
  return (value) => between(1, most)(value.replace(/^[+-]/, ""))
}

function isOrdinalDay(value: string): boolean {
  const ordinal = value.slice(0, -2)
  return weekdays.includes(value.slice(-2)) && (ordinal === "" || fromEitherEnd(53)(ordinal))
}

interface Rule {
  readonly parts: string
  readonly until?: Moment
  readonly count?: number
}

function parseRule(property: Property): Rule {
  const { line, value } = property
  const given = new Map<string, string>()
  for (const part of value
    .toUpperCase()
    .split(";")
    .filter((text) => text !== "")) {
    const [name = "", text = "", ...rest] = part.split("=").map((piece) => piece.trim())
    if (rest.length > 0 || given.has(name))
      throw documentFault(line, `the rule's part "${part.slice(0, 40)}" can't be read`)
    given.set(name, text)
  }
  const until = given.get("UNTIL")
  const count = given.get("COUNT")
  given.delete("UNTIL")
  given.delete("COUNT")
  for (const [name, text] of given) checkPart(line, name, text)
  if (!given.has("FREQ")) throw documentFault(line, "the rule has no FREQ")
  if (until !== undefined && count !== undefined)
    throw documentFault(line, "a rule ends by UNTIL or by COUNT, not by both")
  if (
    count !== undefined &&
    (!/^\d{1,6}$/.test(count) || Number(count) === 0 || Number(count) > recurrenceLimits.countMax)
  )
    throw documentFault(line, `COUNT is a number from 1 to ${recurrenceLimits.countMax}, not "${count.slice(0, 40)}"`)
  return {
    parts: [...given].map(([name, text]) => `${name}=${text}`).join(";"),
    ...(until === undefined ? {} : { until: parseMoment(until, { ...property, name: "UNTIL" }) }),
    ...(count === undefined ? {} : { count: Number(count) }),
  }
}

function checkPart(line: number, name: string, text: string): void {
  const isValue = partValues[name]
  if (!isValue) throw documentFault(line, `the rule's part ${name.slice(0, 40)} is not supported`)
  const values = name.startsWith("BY") ? text.split(",") : [text]
  if (values.length <= valuesMax && values.every(isValue)) return
  const hint = name === "FREQ" ? `; it is one of ${frequencies.join(", ")}` : ""
  throw documentFault(line, `the rule's part ${name}=${text.slice(0, 40)} is not supported${hint}`)
}

/** What a rule is asked about: where it begins, and how an end that is an instant is read. */
export interface RecurrenceStart {
  readonly wall: number
  /** The wall time of an instant. */
  toWall(instant: number): number
}

/** @throws calendars.invalid-document */
export function makeRecurrence(library: RecurrenceLibrary, property: Property, start: RecurrenceStart): Recurrence {
  const rule = parseRule(property)
  const { line } = property
  const make = (end: string): RRuleTemporal => {
    try {
      return new library.RRuleTemporal({
        rruleString: `DTSTART;TZID=UTC:${wallText(start.wall)}\nRRULE:${rule.parts}${end}`,
        maxIterations: recurrenceLimits.stepsMax,
        maxCandidateEvaluations: recurrenceLimits.candidatesMax,
        cache: false,
        strict: true,
      })
    } catch (cause) {
      throw documentFault(line, `the rule is not valid: ${reasonOf(cause)}`, cause)
    }
  }
  const ask = <T>(question: () => T): T => {
    try {
      return question()
    } catch (cause) {
      throw documentFault(line, `the rule asks for too much work: ${reasonOf(cause)}`, cause)
    }
  }
  const until = lastWall(rule, start) ?? ask(() => lastCounted(make, rule))
  const end = until === undefined ? "" : `;UNTIL=${wallText(until)}Z`
  const rrule = make(end)
  const nextStart = (after: number): number | undefined => {
    const horizon = after + recurrenceLimits.aheadYears * 366 * dayMilliseconds
    const bounded = until !== undefined && until <= horizon ? rrule : make(`;UNTIL=${wallText(horizon)}Z`)
    const next = ask(() => bounded.next(new Date(after)))
    return next === null ? undefined : wallOf(next)
  }
  // Whether the first time can be found at a bearable cost is known here, while somebody can be told.
  nextStart(start.wall - 1)
  return {
    key: rule.parts + end,
    startsBetween: (from, to) => ask(() => rrule.between(new Date(from), new Date(to), true).map(wallOf)),
    nextStart,
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message.slice(0, 200) : "it can't be read"
}

const wallOf = ({ epochMilliseconds }: { readonly epochMilliseconds: number }): number => epochMilliseconds

/** The last wall time that the rule's UNTIL lets through: a date lets its whole day through. */
function lastWall({ until }: Rule, { toWall }: RecurrenceStart): number | undefined {
  if (!until) return undefined
  if (until.kind === "utc") return toWall(until.wall)
  return until.kind === "date" ? until.wall + dayMilliseconds - 1000 : until.wall
}

/** A counted rule is walked once; from then on its end is known, so that questions need not begin at its beginning. */
function lastCounted(make: (end: string) => RRuleTemporal, { count }: Rule): number | undefined {
  if (count === undefined) return undefined
  const last = make(`;COUNT=${count}`).all().at(-1)
  return last === undefined ? 0 : wallOf(last)
}
