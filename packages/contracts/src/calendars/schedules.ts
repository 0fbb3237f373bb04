import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { duration, instant, instantInput, limits, pageInput, pageOf, resourceName } from "../schemas.ts"
import { scheduleName } from "../rules/rule-schedule.ts"
import { calendarLimits, timeZone, timingFields } from "./timing.ts"

export const firingOutcomes = ["pending", "started", "held", "failed", "skipped", "missed"] as const

/** What a schedule calls: any operation that changes something. */
const call = z.strictObject({
  operation: z.string().max(128).default("executions.create").describe("Any operation that changes something"),
  input: z
    .record(z.string().max(63), z.unknown())
    .refine(
      (value) => JSON.stringify(value).length <= calendarLimits.inputBytesMax,
      `at most ${calendarLimits.inputBytesMax / 1024} KiB`,
    )
    .describe("The operation's input; no secrets: it is stored as it is"),
})

const catchUp = z.enum(["skip", "latest", "all"])
const overlap = z.enum(["skip", "allow"])
const windowNames = z.array(resourceName).max(calendarLimits.windowsMax)

/** What a person writes of a schedule; the rest of it is the server's. */
export const scheduleFields = {
  name: resourceName,
  description: z.string().max(limits.noteLengthMax).optional(),
  ...timingFields,
  from: instantInput.optional().describe("Nothing fires before this instant"),
  until: instantInput.optional().describe("Nothing fires after this instant"),
  catchUp: catchUp.default("skip").describe("What becomes of instants that passed while no server could fire them"),
  catchUpMax: z.int().min(1).max(calendarLimits.catchUpMax).default(10).describe("Missed instants that `all` makes up"),
  startWithin: duration.default("1h").describe("What could not start this long after its instant never starts"),
  overlap: overlap.default("skip").describe("While the execution of the firing before still runs"),
  windows: windowNames.default([]).describe("Fire only while one of these windows is open"),
  enabled: z.boolean().optional().describe("Whether it fires; left out: as it is, and true where it is new"),
  call,
}

const firing = z
  .object({
    id: z.string(),
    schedule: z.string(),
    dueAt: instant.describe("The instant that it stands for"),
    manual: z.boolean().describe("Asked for by `schedules.fire`"),
    outcome: z.enum(firingOutcomes),
    firedAt: instant.optional().describe("When the outcome was known"),
    started: z.string().optional().describe("Id of what it started"),
    requestUrl: z.string().optional().describe("Of a held call: where its approval can be followed"),
    code: z.string().optional().describe("Of a failure: its error code"),
    reason: z.string().optional().describe("Why it was skipped, missed or failed, in a sentence"),
    instantsCount: z.int().describe("Instants that this record stands for; missed ones share a record"),
    cause: z.string(),
  })
  .describe("One time that a schedule came due")

export const schedule = z.object({
  id: z.string(),
  name: scheduleName,
  rule: resourceName.optional().describe("The rule that it belongs to; it calls nothing, and is changed with the rule"),
  description: z.string().optional(),
  cron: z.string().optional(),
  at: instant.optional(),
  every: z.string().optional(),
  zone: z.string().optional(),
  from: instant.optional(),
  until: instant.optional(),
  catchUp,
  catchUpMax: z.int(),
  startWithin: z.string(),
  overlap,
  windows: z.array(z.string()),
  call: z
    .object({ operation: z.string(), input: z.record(z.string(), z.unknown()) })
    .optional()
    .describe("Absent of a rule's"),
  state: z.enum(["active", "paused", "ended"]).describe("ended: no instant is left"),
  reason: z.string().optional().describe("Why it is paused"),
  nextAt: instant.optional().describe("When it fires next"),
  lastFiring: firing.optional(),
  author: z.string().describe("In whose name it fires: whoever applied it last"),
  authorRoles: z.array(z.string()),
  version: z.int(),
  createdAt: instant,
  changedAt: instant,
})

export const schedulesApply = defineOperation({
  name: "schedules.apply",
  service: "calendars",
  summary: "Create or change a schedule",
  description:
    "It fires with the authority that its author has at that moment: whoever applies it becomes its author. A key that was revoked or has expired fires nothing more.",
  method: "PUT",
  path: "/v1/schedules/{name}",
  effect: "change",
  permission: "schedules.write",
  input: z.strictObject(scheduleFields),
  output: schedule.extend({ changed: z.boolean() }),
  errors: [
    "calendars.invalid-timing",
    "calendars.call-refused",
    "calendars.author-refused",
    "calendars.window-not-found",
    "calendars.too-many",
    "identity.permission-denied",
    "routing.unknown-operation",
  ],
})

export const schedulesList = defineOperation({
  name: "schedules.list",
  service: "calendars",
  summary: "List schedules",
  method: "GET",
  path: "/v1/schedules",
  effect: "read",
  permission: "schedules.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(schedule),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "state", "cron", "every", "at", "zone", "nextAt", "author"] },
})

export const schedulesGet = defineOperation({
  name: "schedules.get",
  service: "calendars",
  summary: "Show a schedule and its last firing",
  method: "GET",
  path: "/v1/schedules/{name}",
  effect: "read",
  permission: "schedules.read",
  input: z.strictObject({ name: scheduleName }),
  output: schedule,
  errors: ["calendars.schedule-not-found"],
})

export const schedulesRemove = defineOperation({
  name: "schedules.remove",
  service: "calendars",
  summary: "Remove a schedule; what it started goes on",
  method: "DELETE",
  path: "/v1/schedules/{name}",
  effect: "change",
  permission: "schedules.write",
  input: z.strictObject({ name: scheduleName }),
  output: z.object({ name: z.string() }),
  errors: ["calendars.schedule-not-found", "calendars.schedule-of-rule"],
})

export const schedulesPause = defineOperation({
  name: "schedules.pause",
  service: "calendars",
  summary: "Pause a schedule: it fires nothing until it is resumed",
  method: "POST",
  path: "/v1/schedules/{name}:pause",
  effect: "change",
  permission: "schedules.write",
  input: z.strictObject({ name: scheduleName, reason: z.string().max(limits.noteLengthMax).optional() }),
  output: schedule,
  errors: ["calendars.schedule-not-found", "calendars.schedule-of-rule"],
})

export const schedulesResume = defineOperation({
  name: "schedules.resume",
  service: "calendars",
  summary: "Resume a paused schedule; instants that passed meanwhile are not made up",
  method: "POST",
  path: "/v1/schedules/{name}:resume",
  effect: "change",
  permission: "schedules.write",
  input: z.strictObject({ name: scheduleName }),
  output: schedule,
  errors: ["calendars.schedule-not-found", "calendars.schedule-of-rule"],
})

export const schedulesFire = defineOperation({
  name: "schedules.fire",
  service: "calendars",
  summary: "Fire a schedule now, beside its instants",
  description:
    "Its windows and its rule for overlaps hold as ever. You need the permission of what it calls; of a rule's, `triggers.fire`.",
  method: "POST",
  path: "/v1/schedules/{name}:fire",
  effect: "change",
  permission: "schedules.write",
  input: z.strictObject({ name: scheduleName }),
  output: firing,
  errors: [
    "calendars.schedule-not-found",
    "calendars.schedule-paused",
    "calendars.firing-pending",
    "identity.permission-denied",
  ],
})

export const schedulesFirings = defineOperation({
  name: "schedules.firings",
  service: "calendars",
  summary: "List the firings of a schedule, the newest first",
  method: "GET",
  path: "/v1/schedules/{name}/firings",
  effect: "read",
  permission: "schedules.read",
  input: z.strictObject({ name: scheduleName, ...pageInput }),
  output: pageOf(firing),
  errors: ["calendars.schedule-not-found", "request.invalid-cursor"],
  table: { rows: "items", columns: ["id", "dueAt", "firedAt", "outcome", "started", "reason"] },
})

export const schedulesPreview = defineOperation({
  name: "schedules.preview",
  service: "calendars",
  summary: "Show when a schedule, or a timing that is given, comes due next",
  method: "GET",
  path: "/v1/schedules:preview",
  effect: "read",
  permission: "schedules.read",
  input: z.strictObject({
    schedule: scheduleName.optional().describe("A stored schedule; or give its timing"),
    ...timingFields,
    from: instantInput.optional(),
    until: instantInput.optional(),
    after: instantInput.optional().describe("Instants after this one; else after now"),
    count: z.coerce.number().int().min(1).max(calendarLimits.previewMax).default(10),
  }),
  output: z.object({
    zone: timeZone,
    items: z.array(
      z.object({
        at: instant,
        local: z.string().describe("The same instant by the clock of the zone"),
        note: z.string().optional().describe("Where the clock changes: what that does to this instant"),
      }),
    ),
  }),
  errors: ["calendars.invalid-timing", "calendars.schedule-not-found", "request.invalid-input"],
  table: { rows: "items", columns: ["at", "local", "note"] },
})

export const schedulesOperations = [
  schedulesApply,
  schedulesList,
  schedulesGet,
  schedulesRemove,
  schedulesPause,
  schedulesResume,
  schedulesFire,
  schedulesFirings,
  schedulesPreview,
] as const
