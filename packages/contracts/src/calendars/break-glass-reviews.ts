import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, limits, pageInput, pageOf } from "../schemas.ts"
import { changeCalendarLimits } from "./change-calendars.ts"

const reviewId = z.string().max(64).describe("The review's id, bgr_…")

const review = z
  .object({
    id: z.string(),
    state: z.enum(["open", "closed"]),
    operation: z.string().describe("What was called"),
    requestId: z.string().describe("The call: `signalbox why` tells what followed"),
    principal: z.string().describe("Who skipped the calendars"),
    reason: z.string(),
    calendars: z.array(z.string()).describe("The closed calendars that were skipped"),
    openedAt: instant,
    closedAt: instant.optional(),
    closedBy: z.string().optional(),
    comment: z.string().optional(),
  })
  .describe("What is looked at afterwards: a call that skipped closed calendars")

export const breakGlassReviewsOpen = defineOperation({
  name: "break-glass-reviews.open",
  service: "calendars",
  summary: "Record that a call skips closed calendars, and open a review of it",
  description: "The gate calls it; the same request again gives the same review.",
  method: "POST",
  path: "/v1/break-glass-reviews",
  effect: "change",
  permission: "calendars.break-glass",
  gateable: false,
  input: z.strictObject({
    requestId: z.string().min(1).max(64),
    operation: z.string().min(1).max(128),
    principal: z.string().min(1).max(128),
    reason: z.string().trim().min(1).max(limits.noteLengthMax),
    calendars: z.array(z.string().max(limits.nameLengthMax)).min(1).max(changeCalendarLimits.calendarsMax),
  }),
  output: review,
  errors: [],
})

export const breakGlassReviewsList = defineOperation({
  name: "break-glass-reviews.list",
  service: "calendars",
  summary: "List reviews of calls that skipped closed calendars, the newest first",
  method: "GET",
  path: "/v1/break-glass-reviews",
  effect: "read",
  permission: "calendars.read",
  input: z.strictObject({ state: z.enum(["open", "closed"]).optional(), ...pageInput }),
  output: pageOf(review),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["id", "state", "openedAt", "principal", "operation", "calendars", "reason"] },
})

export const breakGlassReviewsGet = defineOperation({
  name: "break-glass-reviews.get",
  service: "calendars",
  summary: "Show a review",
  method: "GET",
  path: "/v1/break-glass-reviews/{review}",
  effect: "read",
  permission: "calendars.read",
  input: z.strictObject({ review: reviewId }),
  output: review,
  errors: ["calendars.review-not-found"],
})

export const breakGlassReviewsClose = defineOperation({
  name: "break-glass-reviews.close",
  service: "calendars",
  summary: "Close a review with a comment; never one's own call",
  method: "POST",
  path: "/v1/break-glass-reviews/{review}:close",
  effect: "change",
  permission: "calendars.review",
  input: z.strictObject({
    review: reviewId,
    comment: z.string().trim().min(1).max(limits.noteLengthMax).describe("What the review found"),
  }),
  output: review,
  errors: ["calendars.review-not-found", "calendars.review-closed", "calendars.own-review"],
})

export const breakGlassReviewsOperations = [
  breakGlassReviewsOpen,
  breakGlassReviewsList,
  breakGlassReviewsGet,
  breakGlassReviewsClose,
] as const
