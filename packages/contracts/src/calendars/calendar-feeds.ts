import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, limits, pageInput, pageOf, resourceName } from "../schemas.ts"

export const calendarFeedLimits = {
  feedsMax: 200,
  /** What a feed shows: events of the last days and of the time ahead. */
  behindDays: 30,
  aheadDays: 400,
} as const

const feedId = z.string().max(64).describe("The feed's id, cfd_…")

const feed = z
  .object({
    id: z.string(),
    calendar: z.string(),
    note: z.string().optional(),
    createdAt: instant,
    createdBy: z.string(),
  })
  .describe("An address at which calendar programs read a change calendar")

export const calendarFeedsCreate = defineOperation({
  name: "calendar-feeds.create",
  service: "calendars",
  summary: "Make an address at which calendar programs can subscribe to a change calendar",
  description:
    "Whoever knows the address can read the calendar, and nothing else. It is shown once; revoke the feed to end it.",
  method: "POST",
  path: "/v1/calendar-feeds",
  effect: "change",
  permission: "calendars.read",
  input: z.strictObject({
    calendar: resourceName,
    note: z.string().max(limits.noteLengthMax).optional().describe("Who it is for"),
  }),
  output: feed.extend({ url: z.string() }),
  secretOutput: ["url"],
  errors: ["calendars.calendar-not-found", "calendars.too-many"],
})

export const calendarFeedsList = defineOperation({
  name: "calendar-feeds.list",
  service: "calendars",
  summary: "List the feeds of change calendars",
  method: "GET",
  path: "/v1/calendar-feeds",
  effect: "read",
  permission: "calendars.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(feed),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["id", "calendar", "note", "createdAt", "createdBy"] },
})

export const calendarFeedsRevoke = defineOperation({
  name: "calendar-feeds.revoke",
  service: "calendars",
  summary: "End a feed: its address answers no more",
  method: "POST",
  path: "/v1/calendar-feeds/{feed}:revoke",
  effect: "change",
  permission: "calendars.write",
  input: z.strictObject({ feed: feedId }),
  output: feed,
  errors: ["calendars.feed-not-found"],
})

export const calendarFeedsRead = defineOperation({
  name: "calendar-feeds.read",
  service: "calendars",
  summary: "Read a change calendar as calendar programs do",
  description: `Events of the last ${calendarFeedLimits.behindDays} and the next ${calendarFeedLimits.aheadDays} days. The token in the path is the credential.`,
  method: "GET",
  path: "/v1/calendar-feeds/{token}/calendar",
  effect: "read",
  permission: "calendars.subscribe",
  input: z.strictObject({ token: z.string().min(1).max(200) }),
  output: z.string().describe("An iCalendar document"),
  rawOutput: "text/calendar; charset=utf-8",
  tokenInput: "token",
  errors: ["calendars.calendar-not-found", "calendars.too-many-occurrences", "calendars.invalid-document"],
})

export const calendarFeedsOperations = [
  calendarFeedsCreate,
  calendarFeedsList,
  calendarFeedsRevoke,
  calendarFeedsRead,
] as const
