import { findDuration } from "@signalbox/kernel/duration"
import { z } from "zod"

/** Schemas that several services share. Limits carry their names, so that errors and docs can quote them. */
export const limits = {
  pageItemsMax: 1000,
  nameLengthMax: 63,
  tagsMax: 64,
  tagValueLengthMax: 128,
  documentBytesMax: 256 * 1024,
  workflowsMax: 5_000,
  nodeGroupsMax: 5_000,
  bodyBytesMax: 1024 * 1024,
  targetsListMax: 10_000,
  parametersMax: 64,
  noteLengthMax: 500,
} as const

export const instant = z.iso.datetime({ precision: 3 }).describe("RFC 3339, UTC, milliseconds")

/** An instant as people write it: any precision, any offset. Handlers read it with `Date.parse`. */
export const instantInput = z.iso
  .datetime({ offset: true, error: "write an instant such as 2030-01-31T03:00:00Z or 2030-01-31T04:00:00+01:00" })
  .describe("An instant: 2030-01-31T03:00:00Z, or with an offset")

/** `30s`, `5m`, `PT30S`; at most 400 days. */
export const duration = z
  .string()
  .max(40)
  .refine((text) => findDuration(text) !== undefined, "write a duration such as 30s, 5m, 1h30m or PT30S")
  .describe("A duration: 30s, 5m, 1h30m or PT30S")

export const resourceName = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/,
    "use 1 to 63 of a-z, 0-9, dot, dash and underscore, beginning and ending with a letter or digit",
  )
  .describe("A name: a-z, 0-9, dot, dash, underscore")

const oneName = "[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?"

/** One of our rules, or one of another rules service that the routing map names. */
export const ruleReference = z
  .string()
  .regex(new RegExp(`^(?:${oneName}/)?${oneName}$`), "write a rule's name, or destination/rule")
  .describe("A rule's name; `destination/rule` where another rules service asked")

/** An account's id stands inside key texts (`sbx_<account>_…`), so it has no underscore. */
export const accountId = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/, "use 1 to 32 of a-z, 0-9 and dash")
  .describe("An account's id: a-z, 0-9, dash")

export const tagKey = z
  .string()
  .regex(/^[a-zA-Z][a-zA-Z0-9._/-]{0,62}$/, "use letters, digits, dot, dash, underscore and slash; begin with a letter")
export const tags = z
  .record(tagKey, z.string().max(limits.tagValueLengthMax))
  .refine((value) => Object.keys(value).length <= limits.tagsMax, `at most ${limits.tagsMax} tags`)
  .describe("Tags: key to value; the value may be empty")

/** A cursor is opaque: made by the server, valid for the same query. */
export const pageInput = {
  cursor: z.string().max(512).optional().describe("Where the page before ended"),
  limit: z.coerce.number().int().min(1).max(limits.pageItemsMax).default(100).describe("Items in a page"),
}

export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), nextCursor: z.string().optional().describe("Absent on the last page") })
}

/** `7` or `"25%"`. */
export const countOrPercent = z
  .union([
    z.int().min(0).max(10_000_000),
    z
      .string()
      .regex(/^(?:\d{1,8}|(?:100|\d{1,2}(?:\.\d{1,2})?)%)$/, "write a whole number or a percentage such as 25%"),
  ])
  .describe("A whole number, or a percentage of all targets")

export const empty = z.object({})
