/** Approval requests as the operations give them. */
import { z } from "zod"
import { instant, limits, resourceName, ruleReference } from "../schemas.ts"
import { approvalLimits } from "./approval-limits.ts"

export const requestStates = ["unmatched", "open", "asking", "approved", "denied", "expired", "cancelled"] as const

/** Why a request has ended as it did. */
export const outcomeReasons = [
  "votes",
  "veto",
  "unreachable",
  "criteria",
  "timeout",
  "cancelled",
  "unmatched-policy",
] as const

export const voteChoices = ["approve", "deny", "abstain"] as const
export const voteWays = ["api", "link"] as const

export const requestId = z.string().max(64)
export const digest = z
  .string()
  .regex(/^[0-9a-f]{64}$/, "a digest is 64 hexadecimal digits")
  .describe("SHA-256 of the canonical JSON of the content: what is voted on")

const attributeText = z.string().min(1).max(approvalLimits.attributeLengthMax)

/** What associations match and criteria look at. The named ones are the scopes of associations. */
export const requestAttributes = z
  .object({
    request: attributeText.optional().describe("The request's key, by which one association can be bound to it alone"),
    product: attributeText.optional(),
    portfolio: attributeText.optional(),
    project: attributeText.optional(),
    action: attributeText.optional(),
    topic: attributeText.optional(),
    workflow: attributeText.optional(),
    cost: z.number().min(0).optional().describe("For criteria such as `request.cost < 50`"),
  })
  .catchall(z.union([attributeText, z.number(), z.boolean()]))
  .refine(
    (attributes) => Object.keys(attributes).length <= approvalLimits.attributesMax,
    `at most ${approvalLimits.attributesMax} attributes`,
  )

export const comment = z.string().max(approvalLimits.commentLengthMax)

export const person = z.object({
  key: z.string().describe("A principal's id, or mailto: and an address, or channel: and a name"),
  name: z.string().optional(),
})

const outcome = z.object({
  result: z.enum(["approved", "denied", "cancelled"]).describe("An expired request has its template's default result"),
  reason: z.enum(outcomeReasons),
  comment: z.string().optional(),
  by: person.optional(),
})

/** A rule that has a part in a call that waits for approval. */
export const askingRule = z.strictObject({
  name: ruleReference,
  version: z.int().min(1),
  part: z
    .enum(["gates", "acts"])
    .describe("It wants the call approved, delayed or rewritten; or the call is its action"),
  reason: z.string().max(approvalLimits.commentLengthMax).optional().describe("What the rule says of it"),
})

export const approvalRequest = z.object({
  id: z.string(),
  url: z.string().describe("Where the request can be read"),
  state: z.enum(requestStates),
  type: z.string(),
  title: z.string(),
  attributes: requestAttributes,
  requester: person,
  rules: z.array(askingRule).optional().describe("Rules that have a part in the call"),
  revision: z.int().describe("Grows with each edit"),
  digest,
  template: z.object({ name: z.string(), version: z.int() }).optional().describe("Absent of an unmatched request"),
  level: z
    .object({ name: z.string(), number: z.int(), of: z.int(), signedVotes: z.literal("required").optional() })
    .optional()
    .describe("The level that is open"),
  notBefore: instant.optional().describe("What was approved is to be done then"),
  expiresAt: instant.optional().describe("When the open level is decided by default"),
  question: z
    .object({ text: z.string(), by: person, askedAt: instant })
    .optional()
    .describe("What the requester has to answer; the clocks stand still until then"),
  outcome: outcome.optional(),
  callback: resourceName.optional(),
  version: z.int().describe("Grows with each change"),
  cause: z.string(),
  submittedAt: instant,
  decidedAt: instant.optional(),
})

const seat = z.object({
  member: person,
  state: z.enum(["waiting", "approved", "denied", "abstained", "barred", "removed"]),
  weight: z.int(),
  veto: z.boolean(),
  barred: z.string().optional().describe("Why this member may not answer here: self-approval, same-team"),
  absent: z.boolean(),
  delegate: person.optional().describe("Who answers for the member"),
  escalation: z.boolean().describe("Joined by escalation"),
  choice: z.enum(voteChoices).optional().describe("The vote that counts now"),
})

const level = z.object({
  name: z.string(),
  number: z.int(),
  group: resourceName,
  state: z.string(),
  strategy: z.string(),
  seats: z.array(seat).describe("Pinned when the level opened; empty before"),
  openedAt: instant.optional(),
  closedAt: instant.optional(),
  expiresAt: instant.optional(),
})

const vote = z.object({
  number: z.int(),
  level: z.string(),
  member: person,
  by: person.describe("Who gave it: the member, or a delegate"),
  choice: z.enum(voteChoices),
  digest,
  revision: z.int(),
  standing: z
    .enum(["counts", "kept", "outdated", "replaced"])
    .describe("`outdated`: another content was voted on; `kept`: an edit left it standing"),
  via: z.enum(voteWays),
  comment: z.string().optional(),
  envelope: z.string().optional().describe("The vote as a signed statement: a DSSE envelope in JSON"),
  signature: z.string().optional().describe("The same, signed by who gave it: a DSSE envelope in JSON"),
  at: instant,
})

export const approvalRequestDetails = approvalRequest.extend({
  content: z.unknown().describe("What is approved, whole"),
  levels: z.array(level),
  votes: z.array(vote).describe("All of them, the oldest first"),
  questions: z.array(
    z.object({
      text: z.string(),
      by: person,
      askedAt: instant,
      answer: z.string().optional(),
      answeredAt: instant.optional(),
      lapsed: z.boolean().optional(),
    }),
  ),
})

export const title = z.string().min(1).max(approvalLimits.titleLengthMax)
export const note = z.string().max(limits.noteLengthMax)
