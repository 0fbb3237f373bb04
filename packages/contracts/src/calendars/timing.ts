import { z } from "zod"
import { duration, instantInput } from "../schemas.ts"

/** The limits of schedules and windows. */
export const calendarLimits = {
  windowsMax: 16,
  excludedDatesMax: 366,
  catchUpMax: 100,
  previewMax: 100,
  cronLengthMax: 120,
  inputBytesMax: 64 * 1024,
  schedulesMax: 1_000,
  windowsInAccountMax: 500,
  everySecondsMin: 10,
} as const

/** A zone of the IANA database, as this machine knows it; never an offset, which has no rule for the clock's changes. */
export const timeZone = z
  .string()
  .max(64)
  .refine(isTimeZone, "write a zone of the IANA database such as Europe/Berlin or UTC")
  .describe("Time zone by its IANA name, such as Europe/Berlin")

export const cronText = z
  .string()
  .min(9)
  .max(calendarLimits.cronLengthMax)
  .describe("Five fields: minute, hour, day of the month, month, day of the week; needs a zone")

/** When something comes round: exactly one of the three. */
export const timingFields = {
  cron: cronText.optional(),
  at: instantInput.optional().describe("Once, at this instant"),
  every: duration.optional().describe("At this distance, counted from `from` or from the creation"),
  zone: timeZone.optional(),
}

function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]*$/.test(name)) return false
  try {
    new Intl.DateTimeFormat("en", { timeZone: name })
    return true
  } catch {
    return false
  }
}
