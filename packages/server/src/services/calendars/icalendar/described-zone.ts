import type { Component } from "./components.ts"
import { findProperty, listProperties } from "./components.ts"
import { documentFault } from "./document-fault.ts"
import { parseMoment, parseOffset } from "./moments.ts"
import { makeRecurrence, type RecurrenceLibrary } from "./recurrence.ts"
import type { Zone } from "./zone.ts"

/** A time zone as a document describes it (VTIMEZONE): from each of these instants on, an offset holds. */
interface Onset {
  readonly at: number
  readonly before: number
  readonly after: number
}

const observancesMax = 500
/** Exports describe zones since 1601, and for ever. Before and after these years the first and last offset goes on. */
const from = Date.UTC(1970, 0, 1)
const to = Date.UTC(2101, 0, 1)

/** @throws calendars.invalid-document */
export function readDescribedZone(library: RecurrenceLibrary, component: Component): Zone {
  const observances = component.components.filter(({ name }) => name === "STANDARD" || name === "DAYLIGHT")
  if (observances.length === 0)
    throw documentFault(component.line, "this VTIMEZONE has neither STANDARD nor DAYLIGHT, so it says no offset")
  if (observances.length > observancesMax)
    throw documentFault(component.line, `a VTIMEZONE has at most ${observancesMax} parts`)
  const onsets = observances.flatMap((observance) => onsetsOf(library, observance)).toSorted((a, b) => a.at - b.at)
  return {
    key: `described ${JSON.stringify(onsets.map(({ at, before, after }) => [at, before, after]))}`,
    offsetAt: (instant) => offsetAt(onsets, instant),
  }
}

function onsetsOf(library: RecurrenceLibrary, observance: Component): Onset[] {
  const property = (name: string) => {
    const found = findProperty(observance, name)
    if (!found) throw documentFault(observance.line, `this ${observance.name} of a VTIMEZONE has no ${name}`)
    return found
  }
  const start = property("DTSTART")
  const before = parseOffset(property("TZOFFSETFROM"))
  const after = parseOffset(property("TZOFFSETTO"))
  const first = parseMoment(start.value, start).wall
  const walls = new Set([first])
  for (const rule of listProperties(observance, "RRULE")) {
    const recurrence = makeRecurrence(library, rule, { wall: first, toWall: (instant) => instant + before })
    for (const wall of recurrence.startsBetween(from, to)) walls.add(wall)
  }
  for (const date of listProperties(observance, "RDATE")) {
    for (const text of date.value.split(",")) walls.add(parseMoment(text, date).wall)
  }
  return [...walls].map((wall) => ({ at: wall - before, before, after }))
}

/** Of the onsets, in order, the last that has come. */
function offsetAt(onsets: readonly Onset[], instant: number): number {
  let low = 0
  let high = onsets.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((onsets[middle]?.at ?? 0) <= instant) low = middle + 1
    else high = middle
  }
  return onsets[low - 1]?.after ?? onsets[0]?.before ?? 0
}
