import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant } from "../schemas.ts"
import { approvalRequest, comment, digest, person } from "./request-shapes.ts"

/**
 * What a link in a message can do: show one request to one person, and take that person's answer. The link is the
 * credential. Showing never changes anything, however often a mail scanner looks.
 */

export const linkChoices = ["approve", "deny", "abstain", "ask", "answer"] as const

export const linkAnswersShow = defineOperation({
  name: "link-answers.show",
  service: "approvals",
  summary: "Show the request that a link in a message is about",
  method: "GET",
  path: "/v1/link-answers",
  effect: "read",
  permission: "approvals.link",
  input: z.strictObject({}),
  output: z.object({
    request: approvalRequest,
    content: z.unknown().describe("What is approved, whole"),
    you: person.describe("Whose link it is"),
    member: person.optional().describe("In whose place the answer counts; absent of the requester's own link"),
    votes: z.array(z.object({ member: person, choice: z.string(), level: z.string(), comment: z.string().optional() })),
    choices: z.array(z.enum(linkChoices)).describe("What may be answered now; none where it is too late"),
    why: z.string().optional().describe("Why nothing may be answered"),
    refusedWith: z.string().optional().describe("The code with which an answer is refused for that reason"),
    answered: z
      .object({ choice: z.string(), at: instant })
      .optional()
      .describe("What was answered by the link, or after it by a login"),
    digest: digest.describe("Of the content that the answer counts for"),
    needsLogin: z.boolean().describe("Whether the template asks whoever answers to log in too"),
    expiresAt: instant,
  }),
  errors: ["approvals.request-not-found"],
})

export const linkAnswersGive = defineOperation({
  name: "link-answers.give",
  service: "approvals",
  summary: "Answer the request that a link in a message is about; a link counts once",
  method: "POST",
  path: "/v1/link-answers",
  effect: "change",
  permission: "approvals.link",
  gateable: false,
  input: z.strictObject({ choice: z.enum(linkChoices), comment: comment.optional() }),
  output: z.object({ request: approvalRequest, choice: z.enum(linkChoices) }),
  errors: [
    "approvals.request-not-found",
    "approvals.request-ended",
    "approvals.not-a-member",
    "approvals.level-not-open",
    "approvals.level-closed",
    "approvals.member-removed",
    "approvals.self-approval",
    "approvals.same-team",
    "approvals.content-changed",
    "approvals.abstention-refused",
    "approvals.question-open",
    "approvals.no-question",
    "approvals.not-the-requester",
    "approvals.link-used",
    "approvals.link-expired",
    "approvals.login-required",
  ],
})

export const linkAnswersOperations = [linkAnswersShow, linkAnswersGive] as const
