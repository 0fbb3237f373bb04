import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { duration, instant, instantInput, limits, pageInput, pageOf, resourceName } from "../schemas.ts"
import { timeZone } from "./timing.ts"

/** The limits of change calendars. */
export const changeCalendarLimits = {
  calendarsMax: 100,
  documentCharactersMax: 768 * 1024,
  eventsMax: 5_000,
  /** Of one event: times that are left out or moved. */
  exceptionsMax: 2_000,
  /** Times that all events of a calendar together take place within the time ahead that is kept in memory. */
  occurrencesMax: 10_000,
  aheadDays: 400,
  versionsKept: 20,
  holdsMax: 32,
  patternsMax: 32,
  refreshSecondsMin: 60,
  /** Calendars that are asked about together. */
  namesMax: 16,
  timesMax: 1_000,
} as const

const operationPattern = z
  .string()
  .regex(
    /^(?:\*|[a-z]+(?:-[a-z]+)*\.(?:\*|[a-z]+(?:-[a-z]+)*)|ext\.[a-zA-Z0-9._*-]{1,120})$/,
    "write an operation (executions.create), a group of them (executions.*) or * for all",
  )
  .describe("An operation, `noun.*` or `*`")

const namePattern = z
  .string()
  .regex(/^[a-z0-9*][a-z0-9._*-]{0,62}$/, "write a name, with * for any characters")
  .describe("A name; * stands for any characters")

/** What a closed calendar holds: calls of these operations, of these workflows where they are named. */
const hold = z.strictObject({
  operations: z
    .array(operationPattern)
    .min(1)
    .max(changeCalendarLimits.patternsMax)
    .default(["executions.create", "executions.retry"])
    .describe("Calls that are held"),
  workflows: z
    .array(namePattern)
    .max(changeCalendarLimits.patternsMax)
    .optional()
    .describe("Only calls for these workflows; left out: whatever the call is for"),
})

/** What a person writes of a change calendar; the rest of it is the server's. */
export const changeCalendarFields = {
  name: resourceName,
  description: z.string().max(limits.noteLengthMax).optional(),
  default: z
    .enum(["open", "closed"])
    .default("open")
    .describe("While no event takes place. open: events are times closed for changes; closed: events are open times"),
  zone: timeZone.optional().describe("For whole days and times without a zone; else what the document says"),
  document: z
    .string()
    .min(1)
    .max(changeCalendarLimits.documentCharactersMax)
    .optional()
    .describe("An iCalendar document, as calendar programs export it"),
  url: z
    .url({ protocol: /^https$/, error: "write an https: URL" })
    .max(2000)
    .optional()
    .describe("Where the document is fetched, again and again"),
  urlSecret: resourceName.optional().describe("The secret that holds the URL, where whoever knows it can read"),
  refreshEvery: duration.default("1h").describe("Of a subscribed calendar: how often it is fetched"),
  staleAfter: duration
    .default("1d")
    .describe("Of a subscribed calendar: after this time without a good answer its state is unknown, which is closed"),
  countTransparent: z
    .boolean()
    .default(false)
    .describe("Whether events count that say they take up no time, as whole days of many programs do"),
  holds: z
    .array(hold)
    .max(changeCalendarLimits.holdsMax)
    .default([{ operations: ["executions.create", "executions.retry"] }])
    .describe("What is held while it is closed; empty: nothing, it is only asked about"),
  freezeTemplate: resourceName
    .optional()
    .describe("The approval template whose approvers are needed beside the regular ones while it is closed"),
}

const subscription = z.object({
  refreshEvery: z.string(),
  staleAfter: z.string(),
  fetchedAt: instant.optional().describe("When it last gave a good document"),
  ageSeconds: z.int().optional().describe("How long ago that was"),
  nextFetchAt: instant.optional(),
  failedAt: instant.optional().describe("Since when it gives none"),
  failure: z.string().optional().describe("Why, in a sentence"),
  stale: z.boolean().describe("Too old: its state is unknown, which counts as closed"),
})

export const changeCalendar = z
  .object({
    id: z.string(),
    name: resourceName,
    description: z.string().optional(),
    default: z.enum(["open", "closed"]),
    zone: z.string().optional(),
    url: z.string().optional(),
    urlSecret: z.string().optional(),
    countTransparent: z.boolean(),
    holds: z.array(hold),
    freezeTemplate: z.string().optional(),
    eventsCount: z.int().describe("Events that count"),
    ignoredCount: z.int().describe("Events that don't: cancelled ones, and those that take up no time"),
    subscription: subscription.optional(),
    version: z.int(),
    createdAt: instant,
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("A change calendar: times in which changes are held")

export const calendarsApply = defineOperation({
  name: "calendars.apply",
  service: "calendars",
  summary: "Create or change a change calendar",
  description:
    "Give exactly one of `document`, `url` and `urlSecret`. Every server has the change within a second. A calendar with a URL is closed until it has been fetched once.",
  method: "PUT",
  path: "/v1/calendars/{name}",
  effect: "change",
  permission: "calendars.write",
  input: z.strictObject(changeCalendarFields),
  output: changeCalendar.extend({ changed: z.boolean() }),
  errors: [
    "calendars.invalid-calendar",
    "calendars.invalid-document",
    "calendars.too-many-occurrences",
    "calendars.too-many",
  ],
})

export const calendarsList = defineOperation({
  name: "calendars.list",
  nodeScope: "none",
  service: "calendars",
  summary: "List change calendars",
  method: "GET",
  path: "/v1/calendars",
  effect: "read",
  permission: "calendars.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(changeCalendar),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "default", "eventsCount", "freezeTemplate", "changedAt", "description"] },
})

export const calendarsGet = defineOperation({
  name: "calendars.get",
  nodeScope: "none",
  service: "calendars",
  summary: "Show a change calendar",
  method: "GET",
  path: "/v1/calendars/{name}",
  effect: "read",
  permission: "calendars.read",
  input: z.strictObject({ name: resourceName }),
  output: changeCalendar,
  errors: ["calendars.calendar-not-found"],
})

export const calendarsRemove = defineOperation({
  name: "calendars.remove",
  service: "calendars",
  summary: "Remove a change calendar with its feeds; it holds nothing any more",
  method: "DELETE",
  path: "/v1/calendars/{name}",
  effect: "change",
  permission: "calendars.write",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["calendars.calendar-not-found"],
})

export const calendarsDocument = defineOperation({
  name: "calendars.document",
  service: "calendars",
  summary: "Show the iCalendar document of a change calendar",
  method: "GET",
  path: "/v1/calendars/{name}/document",
  effect: "read",
  permission: "calendars.read",
  input: z.strictObject({
    name: resourceName,
    version: z.coerce.number().int().min(1).optional().describe("Of this version; else the one in force"),
  }),
  output: z.object({ name: z.string(), version: z.int(), document: z.string() }),
  errors: ["calendars.calendar-not-found", "calendars.version-not-found"],
})

export const calendarsVersions = defineOperation({
  name: "calendars.versions",
  service: "calendars",
  summary: "List the versions of a change calendar, the newest first",
  description: `The last ${changeCalendarLimits.versionsKept} are kept.`,
  method: "GET",
  path: "/v1/calendars/{name}/versions",
  effect: "read",
  permission: "calendars.read",
  input: z.strictObject({ name: resourceName }),
  output: z.object({
    items: z.array(
      z.object({
        version: z.int(),
        changedAt: instant,
        changedBy: z.string().describe("system:calendars: the subscribed document had changed"),
        default: z.enum(["open", "closed"]),
        eventsCount: z.int(),
        meaning: z.string().describe("SHA-256 of what the document means, whatever its stamps"),
      }),
    ),
  }),
  errors: ["calendars.calendar-not-found"],
  table: { rows: "items", columns: ["version", "changedAt", "changedBy", "default", "eventsCount"] },
})

export const calendarsRefresh = defineOperation({
  name: "calendars.refresh",
  service: "calendars",
  summary: "Fetch a subscribed change calendar now",
  method: "POST",
  path: "/v1/calendars/{name}:refresh",
  effect: "change",
  permission: "calendars.write",
  input: z.strictObject({ name: resourceName }),
  output: changeCalendar,
  errors: ["calendars.calendar-not-found", "calendars.not-subscribed"],
})

const stateOfOne = z.object({
  name: z.string(),
  state: z.enum(["open", "closed"]),
  unknown: z.boolean().describe("Nobody knows: never fetched, or too old; it counts as closed"),
  changesAt: instant.optional().describe("When that changes next; absent where it never does"),
  event: z.string().optional().describe("The event that takes place"),
})

export const calendarsState = defineOperation({
  name: "calendars.state",
  nodeScope: "none",
  service: "calendars",
  summary: "Show whether change calendars are open, and when that changes",
  description: "Several together are closed while any of them is.",
  method: "GET",
  path: "/v1/calendars:state",
  effect: "read",
  permission: "calendars.read",
  input: z.strictObject({
    calendars: z.string().max(1100).optional().describe("Names, joined by commas; left out: all that there are"),
    at: instantInput.optional().describe("The state at this instant; else now"),
  }),
  output: z.object({
    at: instant,
    state: z.enum(["open", "closed"]),
    unknown: z.boolean(),
    changesAt: instant.optional().describe("When all of them together change next"),
    name: z.string().optional().describe("The calendar that is closed, or that closes next"),
    items: z.array(stateOfOne),
  }),
  errors: ["calendars.calendar-not-found", "request.invalid-input"],
  table: { rows: "items", columns: ["name", "state", "unknown", "changesAt", "event"] },
})

export const calendarsTimes = defineOperation({
  name: "calendars.times",
  service: "calendars",
  summary: "List the times of a change calendar's events",
  method: "GET",
  path: "/v1/calendars/{name}/times",
  effect: "read",
  permission: "calendars.read",
  input: z.strictObject({
    name: resourceName,
    from: instantInput.optional().describe("Times that touch the period from here on; else from now on"),
    days: z.coerce
      .number()
      .int()
      .min(1)
      .max(changeCalendarLimits.aheadDays)
      .default(90)
      .describe("The period's length"),
    limit: z.coerce.number().int().min(1).max(changeCalendarLimits.timesMax).default(100),
  }),
  output: z.object({
    items: z.array(z.object({ start: instant, end: instant, event: z.string(), state: z.enum(["open", "closed"]) })),
    truncated: z.boolean(),
  }),
  errors: ["calendars.calendar-not-found", "calendars.too-many-occurrences", "calendars.invalid-document"],
  table: { rows: "items", columns: ["start", "end", "state", "event"] },
})

export const calendarsFreezes = defineOperation({
  name: "calendars.freezes",
  nodeScope: "none",
  service: "calendars",
  summary: "List the closed calendars that hold a call of an operation",
  method: "GET",
  path: "/v1/calendars:freezes",
  effect: "read",
  permission: "calendars.read",
  input: z.strictObject({
    operation: z.string().max(128).describe("The operation that would be called"),
    workflow: resourceName.optional().describe("The workflow that the call is for"),
    at: instantInput.optional().describe("At this instant; else now"),
  }),
  output: z.object({
    items: z.array(
      z.object({
        name: z.string(),
        unknown: z.boolean(),
        freezeTemplate: z.string().optional(),
        opensAt: instant.optional(),
        event: z.string().optional(),
      }),
    ),
  }),
  errors: [],
  table: { rows: "items", columns: ["name", "freezeTemplate", "opensAt", "unknown", "event"] },
})

export const changeCalendarsOperations = [
  calendarsApply,
  calendarsList,
  calendarsGet,
  calendarsRemove,
  calendarsDocument,
  calendarsVersions,
  calendarsRefresh,
  calendarsState,
  calendarsTimes,
  calendarsFreezes,
] as const
