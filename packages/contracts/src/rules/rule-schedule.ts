/** When a rule comes due by itself: what a person writes of it, and what the schedule that is kept for it is called. */
import { z } from "zod"
import { cronText, timeZone } from "../calendars/timing.ts"
import { duration } from "../schemas.ts"

export const ruleScheduleLimits = { perRuleMax: 4 } as const

/** Exactly one of `cron` and `every`. */
export const ruleSchedule = z
  .strictObject({
    cron: cronText.optional(),
    zone: timeZone.optional(),
    every: duration.optional().describe("At this distance, counted from when the rule got it"),
    catchUp: z
      .enum(["skip", "latest", "all"])
      .default("skip")
      .describe("What becomes of instants that passed while no server could fire them; `all`: the last ten"),
    startWithin: duration.default("1h").describe("What could not fire this long after its instant never does"),
  })
  .refine(({ cron, every }) => (cron === undefined) !== (every === undefined), "a schedule has `cron` or `every`")
  .refine(
    ({ cron, zone }) => cron === undefined || zone !== undefined,
    "a cron text needs a `zone`, such as Europe/Berlin",
  )

/** The name of the schedule that is kept for a rule's trigger, by its place among those of its kind: no person's has it. */
export function ruleScheduleName(rule: string, place: number): string {
  return place === 0 ? `${rule}@rules` : `${rule}@rules.${place + 1}`
}

/** A schedule, a rule's included. */
export const scheduleName = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?(?:@rules(?:\.[2-9])?)?$/,
    "use 1 to 63 of a-z, 0-9, dot, dash and underscore, beginning and ending with a letter or digit; of a rule's schedule NAME@rules",
  )
  .describe("A schedule; NAME@rules for that of a rule")
