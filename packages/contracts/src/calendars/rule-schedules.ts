import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { ruleSchedule, ruleScheduleLimits } from "../rules/rule-schedule.ts"
import { limits, resourceName } from "../schemas.ts"

export const ruleSchedulesKeep = defineOperation({
  name: "rule-schedules.keep",
  service: "calendars",
  summary: "Keep the schedules that a rule has, and no others of it; for rules",
  description: "Each of them tells of its instants by an event, `schedule.fired`, for which the rule waits.",
  method: "PUT",
  path: "/v1/rule-schedules/{rule}",
  effect: "change",
  permission: "schedules.keep",
  gateable: false,
  input: z.strictObject({
    rule: resourceName,
    description: z.string().max(limits.noteLengthMax).optional(),
    enabled: z.boolean().default(true),
    author: z.string().min(1).max(200),
    schedules: z.array(ruleSchedule).max(ruleScheduleLimits.perRuleMax).describe("None: the rule is gone"),
  }),
  output: z.object({ rule: z.string(), kept: z.array(z.string()).describe("Their names") }),
  errors: ["calendars.invalid-timing"],
})

export const ruleSchedulesOperations = [ruleSchedulesKeep] as const
