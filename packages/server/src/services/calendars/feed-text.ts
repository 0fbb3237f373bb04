import { wallText } from "./icalendar/moments.ts"
import type { Occurrence } from "./icalendar/calendar-event.ts"
import type { CalendarRow } from "./change-calendar-store.ts"

const lineBytesMax = 75

/** A change calendar as an iCalendar document: each time an event of its own, in UTC, which every program reads alike. */
export function feedText(
  { id, name, description, defaultState, changedAt, version }: CalendarRow,
  occurrences: readonly Occurrence[],
): string {
  const what = defaultState === "open" ? "Closed for changes" : "Open for changes"
  const events = occurrences.flatMap(({ start, end, summary }) => [
    "BEGIN:VEVENT",
    // The same time of the same calendar keeps its name, whatever becomes of the calendar's other times.
    `UID:${id}-${wallText(start)}-${wallText(end)}@signalbox`,
    `DTSTAMP:${wallText(changedAt)}Z`,
    `SEQUENCE:${version}`,
    `DTSTART:${wallText(start)}Z`,
    `DTEND:${wallText(end)}Z`,
    `SUMMARY:${escaped(summary === "" ? `${what} (${name})` : `${what}: ${summary}`)}`,
    `CATEGORIES:${escaped(what)}`,
    "END:VEVENT",
  ])
  const lines = [
    "BEGIN:VCALENDAR",
    "VERSION:2.0",
    "PRODID:-//Signalbox//Change calendar//EN",
    "CALSCALE:GREGORIAN",
    "METHOD:PUBLISH",
    `NAME:${escaped(name)}`,
    `X-WR-CALNAME:${escaped(name)}`,
    ...(description === null ? [] : [`X-WR-CALDESC:${escaped(description)}`]),
    "REFRESH-INTERVAL;VALUE=DURATION:PT1H",
    "X-PUBLISHED-TTL:PT1H",
    ...events,
    "END:VCALENDAR",
  ]
  return lines.map((line) => `${folded(line)}\r\n`).join("")
}

function escaped(text: string): string {
  return text
    .replaceAll(/[\\;,]/g, (character) => `\\${character}`)
    .replaceAll(/\r\n|[\n\r]/g, "\\n")
    .replaceAll(/\p{Cc}/gu, " ")
}

/** A long line goes on behind a line end and a space; characters stay whole. */
function folded(line: string): string {
  if (Buffer.byteLength(line) <= lineBytesMax) return line
  let bytes = 0
  let text = ""
  for (const character of line) {
    const size = Buffer.byteLength(character)
    if (bytes + size > lineBytesMax) {
      text += "\r\n "
      bytes = 1
    }
    text += character
    bytes += size
  }
  return text
}
