import { AppError } from "@signalbox/kernel/app-error"

/** What is wrong with an iCalendar document, and in which of its lines. */
export function documentFault(line: number, message: string, cause?: unknown): AppError {
  return new AppError("calendars.invalid-document", `line ${line} of the calendar: ${message}`, {
    issues: [{ path: "document", message, line }],
    ...(cause === undefined ? {} : { cause }),
  })
}
