import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { duration, instant, instantInput, limits, pageInput, pageOf, resourceName } from "../schemas.ts"
import { calendarLimits, timeZone, timingFields } from "./timing.ts"

/** What a person writes of a window. */
export const windowFields = {
  name: resourceName,
  description: z.string().max(limits.noteLengthMax).optional(),
  cron: timingFields.cron.describe("When it opens: minute, hour, day of the month, month, day of the week"),
  at: timingFields.at.describe("Opens once, at this instant"),
  zone: timeZone,
  duration: duration.describe("How long it stays open, in elapsed time"),
  cutoff: duration.default("0s").describe("Nothing new starts this long before it closes"),
  excludedDates: z
    .array(z.iso.date())
    .max(calendarLimits.excludedDatesMax)
    .default([])
    .describe("Dates, in the zone, on which it doesn't open"),
}

export const maintenanceWindow = z
  .object({
    id: z.string(),
    name: resourceName,
    description: z.string().optional(),
    cron: z.string().optional(),
    at: instant.optional(),
    zone: z.string(),
    duration: z.string(),
    cutoff: z.string(),
    excludedDates: z.array(z.string()),
    version: z.int(),
    createdAt: instant,
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("A maintenance window: recurring times in which work may start")

export const windowsApply = defineOperation({
  name: "windows.apply",
  service: "calendars",
  summary: "Create or change a maintenance window",
  description: "Every server, and every execution that waits for it, has the change within a second.",
  method: "PUT",
  path: "/v1/windows/{name}",
  effect: "change",
  permission: "windows.write",
  input: z.strictObject(windowFields),
  output: maintenanceWindow.extend({ changed: z.boolean() }),
  errors: ["calendars.invalid-timing", "calendars.too-many"],
})

export const windowsList = defineOperation({
  name: "windows.list",
  nodeScope: "none",
  service: "calendars",
  summary: "List maintenance windows",
  method: "GET",
  path: "/v1/windows",
  effect: "read",
  permission: "windows.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(maintenanceWindow),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "cron", "at", "zone", "duration", "cutoff", "description"] },
})

export const windowsGet = defineOperation({
  name: "windows.get",
  nodeScope: "none",
  service: "calendars",
  summary: "Show a maintenance window",
  method: "GET",
  path: "/v1/windows/{name}",
  effect: "read",
  permission: "windows.read",
  input: z.strictObject({ name: resourceName }),
  output: maintenanceWindow,
  errors: ["calendars.window-not-found"],
})

export const windowsRemove = defineOperation({
  name: "windows.remove",
  service: "calendars",
  summary: "Remove a maintenance window that no schedule and no open execution names",
  method: "DELETE",
  path: "/v1/windows/{name}",
  effect: "change",
  permission: "windows.write",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["calendars.window-not-found", "calendars.window-in-use"],
})

export const windowsState = defineOperation({
  name: "windows.state",
  nodeScope: "none",
  service: "calendars",
  summary: "Show whether a maintenance window is open, and when it opens and closes",
  method: "GET",
  path: "/v1/windows/{name}:state",
  effect: "read",
  permission: "windows.read",
  input: z.strictObject({
    name: resourceName,
    at: instantInput.optional().describe("The state at this instant; else now"),
  }),
  output: z.object({
    name: z.string(),
    at: instant,
    state: z.enum(["open", "closing", "closed"]).describe("closing: open, but past the cutoff: nothing new starts"),
    startsUntil: instant.optional().describe("Of an open window: nothing new starts from here on"),
    closesAt: instant.optional(),
    opensAt: instant.optional().describe("The next opening; absent where there is none"),
  }),
  errors: ["calendars.window-not-found"],
})

export const windowsOperations = [windowsApply, windowsList, windowsGet, windowsRemove, windowsState] as const
