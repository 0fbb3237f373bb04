import { schedulesPreview } from "@signalbox/contracts/calendars/schedules"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { onRead, type Handler } from "../../router/handler.ts"
import { getSchedule } from "./schedule-access.ts"
import { readTiming } from "./schedule-timing.ts"
import { occurrencesOf } from "./schedule-wire.ts"
import { instantsFrom } from "./timing.ts"
import { clockNote, localText } from "./zone-clock.ts"

const yearsMilliseconds = 400 * 366 * 86_400_000

/** schedules.preview: the instants to come, by the clock of the zone, with what the clock's changes do to them. */
export function schedulePreview(): Handler {
  return onRead(schedulesPreview, async (input, { sql, account, now }) => {
    const { schedule, after, count, ...timing } = input
    if (schedule !== undefined && Object.values(timing).some((value) => value !== undefined))
      throw new AppError("request.invalid-input", "give either a stored schedule or a timing, not both")
    const row =
      schedule === undefined ? { ...readTiming(timing), createdAt: now } : await getSchedule(sql, account, schedule)
    const occurrences = occurrencesOf(row)
    const start = after === undefined ? now : Date.parse(after)
    const zone = row.zone ?? "UTC"
    const instants = instantsFrom(occurrences, { after: start, until: start + yearsMilliseconds, limit: count })
    return {
      zone,
      items: instants.map((at) => {
        const note = clockNote(occurrences.timing, at)
        return { at: toInstant(at), local: localText(at, zone), ...(note === undefined ? {} : { note }) }
      }),
    }
  })
}
