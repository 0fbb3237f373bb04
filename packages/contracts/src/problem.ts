import type { ErrorKind } from "@signalbox/kernel/error-catalogue"
import { z } from "zod"

/** How the HTTP edge and the client translate the kinds of the error catalogue: the only such table. */
export const problemStatus = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  "not-found": 404,
  conflict: 409,
  "too-large": 413,
  mismatch: 422,
  limited: 429,
  internal: 500,
  unavailable: 503,
  "failed-outside": 502,
  "late-outside": 504,
} as const satisfies Record<ErrorKind, number>

export const problemMediaType = "application/problem+json"

/** The body of every refusal and failure: problem details (RFC 9457) with our code. */
export const problem = z
  .object({
    type: z.string().describe("A URI that ends in the code"),
    title: z.string().describe("The code in words; the same for every problem with this code"),
    status: z.int(),
    detail: z.string().describe("What was being done, to which id, and why it was refused"),
    code: z.string().describe("A row of the error catalogue; compare this, never the texts"),
    help: z.string().describe("What to do; the same for every problem with this code"),
    retryable: z.boolean().describe("Whether the same call can succeed later"),
    requestId: z.string(),
    issues: z
      .array(
        z.object({
          path: z.string(),
          message: z.string(),
          line: z.int().optional(),
          column: z.int().optional(),
        }),
      )
      .optional()
      .describe("Each thing that is wrong with the input"),
    details: z.record(z.string(), z.unknown()).optional().describe("Facts for programs: ids and limits"),
  })
  .describe("A refusal or a failure (RFC 9457)")

export type Problem = z.output<typeof problem>

/** The body of a 202: the change waits for approval. */
export const heldReply = z
  .object({
    status: z.literal("held"),
    requestUrl: z.string().describe("Where the state of the approval request can be read"),
  })
  .describe("The change waits until somebody approves it")
