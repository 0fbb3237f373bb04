import { changeCalendarLimits } from "@signalbox/contracts/calendars/change-calendars"
import type { CalendarEvent } from "./calendar-event.ts"
import { findProperty, listProperties, readComponents, type Component } from "./components.ts"
import { unescapedText, type Property } from "./content-lines.ts"
import { documentFault } from "./document-fault.ts"
import { readLength, readPeriod } from "./event-times.ts"
import { MomentReader } from "./moment-reader.ts"
import { parseMoment, type Moment } from "./moments.ts"
import { makeRecurrence, type RecurrenceLibrary } from "./recurrence.ts"
import { dayOf } from "./calendar-event.ts"
import { toInstant, toWall, type Zone } from "./zone.ts"
import { ZoneNames } from "./zone-names.ts"

export interface ReadOptions {
  readonly library: RecurrenceLibrary
  /** For times without a zone: whole days, and times by the clock of whoever looks. */
  readonly zone?: string | undefined
  /** Whether events count that say of themselves that they take up no time. */
  readonly countTransparent: boolean
}

export interface ReadEvents {
  readonly events: readonly CalendarEvent[]
  /** Events that don't count, and why. */
  readonly ignored: { readonly cancelled: number; readonly transparent: number }
}

/** A VEVENT, or what takes the place of one of its times. */
interface Draft {
  readonly component: Component
  readonly uid: string
  readonly sequence: number
  readonly counts: "yes" | "cancelled" | "transparent"
  readonly replaces?: { readonly property: Property; readonly moment: Moment }
  readonly moments: MomentReader
}

/** The events of an iCalendar document that take up time. @throws calendars.invalid-document */
export function readEvents(document: string, options: ReadOptions): ReadEvents {
  const calendars = readComponents(document)
  const names = new ZoneNames(options.library, calendars)
  const drafts = calendars.flatMap((calendar) => {
    const moments = new MomentReader(names, options.zone ?? findProperty(calendar, "X-WR-TIMEZONE")?.value)
    const isCancelled = findProperty(calendar, "METHOD")?.value.toUpperCase() === "CANCEL"
    return calendar.components
      .filter(({ name }) => name === "VEVENT")
      .map((component) => readDraft(component, { moments, isCancelled, countTransparent: options.countTransparent }))
  })
  const [first] = drafts.slice(changeCalendarLimits.eventsMax)
  if (first)
    throw documentFault(first.component.line, `a calendar has at most ${changeCalendarLimits.eventsMax} events`)
  const replacements = newestReplacements(drafts)
  const events = drafts
    .filter(({ counts, replaces }) => counts === "yes" && !replaces)
    .map((draft) => toEvent(options.library, draft, replacements.get(draft.uid)?.values() ?? []))
  for (const draft of [...replacements.values()].flatMap((ofEvent) => [...ofEvent.values()])) {
    if (draft.counts === "yes") events.push(toEvent(options.library, draft, []))
  }
  const ignoredFor = (reason: Draft["counts"]): number => drafts.filter(({ counts }) => counts === reason).length
  return { events, ignored: { cancelled: ignoredFor("cancelled"), transparent: ignoredFor("transparent") } }
}

function readDraft(
  component: Component,
  of: { readonly moments: MomentReader; readonly isCancelled: boolean; readonly countTransparent: boolean },
): Draft {
  const value = (name: string): string | undefined => findProperty(component, name)?.value
  const isCancelled = of.isCancelled || value("STATUS")?.toUpperCase() === "CANCELLED"
  const isTransparent = !of.countTransparent && value("TRANSP")?.toUpperCase() === "TRANSPARENT"
  const property = findProperty(component, "RECURRENCE-ID")
  const range = property?.parameters.get("RANGE")
  if (property && range !== undefined)
    throw documentFault(
      property.line,
      `RANGE=${range} changes many times of a recurring event at once, which is not supported; end the event and begin another`,
    )
  const exception = findProperty(component, "EXRULE")
  if (exception) throw documentFault(exception.line, "EXRULE is out of use and not supported; use EXDATE")
  return {
    component,
    uid: value("UID") ?? `line ${component.line}`,
    sequence: Number(value("SEQUENCE") ?? 0) || 0,
    counts: isCancelled ? "cancelled" : isTransparent ? "transparent" : "yes",
    moments: of.moments,
    ...(property === undefined ? {} : { replaces: { property, moment: parseMoment(property.value, property) } }),
  }
}

/** What takes the place of single times, by event and time: of several the one with the highest sequence. */
function newestReplacements(drafts: readonly Draft[]): Map<string, Map<string, Draft>> {
  const byEvent = new Map<string, Map<string, Draft>>()
  for (const draft of drafts) {
    if (!draft.replaces) continue
    const { moment } = draft.replaces
    const key = JSON.stringify([moment.kind, moment.wall, moment.zoneName])
    const ofEvent = byEvent.get(draft.uid) ?? new Map<string, Draft>()
    byEvent.set(draft.uid, ofEvent)
    const before = ofEvent.get(key)
    if (!before || before.sequence <= draft.sequence) ofEvent.set(key, draft)
  }
  return byEvent
}

const summaryCharactersMax = 200

function toEvent(library: RecurrenceLibrary, draft: Draft, replacements: Iterable<Draft>): CalendarEvent {
  const { component, moments } = draft
  const start = findProperty(component, "DTSTART")
  if (!start) throw documentFault(component.line, "this VEVENT has no DTSTART")
  const moment = parseMoment(start.value, start)
  const zone = moments.zoneOf(moment, start)
  const rules = draft.replaces ? [] : listProperties(component, "RRULE")
  const excluded = readExcluded(draft, zone)
  for (const { replaces } of replacements) {
    if (replaces) excluded.add(replaces.moment, replaces.property)
  }
  return {
    uid: draft.uid,
    summary: unescapedText(findProperty(component, "SUMMARY")?.value ?? "").slice(0, summaryCharactersMax),
    line: component.line,
    zone,
    startWall: moment.wall,
    length: readLength(component, { start: moment, zone, moments }),
    recurrences: rules.map((rule) =>
      makeRecurrence(library, rule, { wall: moment.wall, toWall: (instant) => toWall(zone, instant) }),
    ),
    further: draft.replaces
      ? []
      : listProperties(component, "RDATE").flatMap((property) =>
          property.value.split(",").map((text) => readPeriod(text, { property, zone, moments })),
        ),
    excluded: excluded.instants,
    excludedDays: excluded.days,
  }
}

/** Times at which an event doesn't take place; a date excludes its day, whatever the event's hour. */
function readExcluded({ component, moments }: Draft, zone: Zone) {
  const instants = new Set<number>()
  const days = new Set<number>()
  const add = (moment: Moment, property: Property): void => {
    if (moment.kind === "date") days.add(dayOf(moment.wall))
    else instants.add(toInstant(moments.zoneOf(moment, property, zone), moment.wall))
    if (instants.size + days.size > changeCalendarLimits.exceptionsMax)
      throw documentFault(property.line, `an event has at most ${changeCalendarLimits.exceptionsMax} exceptions`)
  }
  for (const property of listProperties(component, "EXDATE")) {
    for (const text of property.value.split(",")) add(parseMoment(text, property), property)
  }
  return { instants, days, add }
}
