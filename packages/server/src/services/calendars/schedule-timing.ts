import { calendarLimits } from "@signalbox/contracts/calendars/timing"
import { AppError } from "@signalbox/kernel/app-error"
import { getDuration } from "@signalbox/kernel/duration"
import type { ScheduleRow } from "./schedule-store.ts"
import { compile } from "./timing.ts"

export type TimingDefinition = Pick<ScheduleRow, "cron" | "at" | "everyMs" | "zone" | "fromAt" | "untilAt">

export interface TimingInput {
  readonly cron?: string | undefined
  readonly at?: string | undefined
  readonly every?: string | undefined
  readonly zone?: string | undefined
  readonly from?: string | undefined
  readonly until?: string | undefined
}

const instantOf = (text: string | undefined): number | null => (text === undefined ? null : Date.parse(text))

/** Reads when a schedule comes due. @throws calendars.invalid-timing */
export function readTiming(input: TimingInput): TimingDefinition {
  const given = [input.cron, input.at, input.every].filter((value) => value !== undefined)
  if (given.length !== 1)
    throw new AppError("calendars.invalid-timing", "give exactly one of `cron`, `at` and `every`", {
      issues: [{ path: "cron", message: "give exactly one of cron, at and every" }],
    })
  if (input.cron !== undefined) {
    if (input.zone === undefined)
      throw new AppError("calendars.invalid-timing", "a cron text needs a `zone`, such as Europe/Berlin or UTC", {
        issues: [{ path: "zone", message: "is missing" }],
      })
    compile(input.cron, input.zone)
  }
  const everyMs = input.every === undefined ? null : getDuration(input.every)
  if (everyMs !== null && everyMs < calendarLimits.everySecondsMin * 1000)
    throw new AppError("calendars.invalid-timing", `\`every\` is ${calendarLimits.everySecondsMin} seconds at least`, {
      issues: [{ path: "every", message: `at least ${calendarLimits.everySecondsMin}s` }],
    })
  const fromAt = instantOf(input.from)
  const untilAt = instantOf(input.until)
  if (fromAt !== null && untilAt !== null && fromAt > untilAt)
    throw new AppError("calendars.invalid-timing", "`from` comes after `until`")
  return { cron: input.cron ?? null, at: instantOf(input.at), everyMs, zone: input.zone ?? null, fromAt, untilAt }
}
