import { permissions, roles } from "@signalbox/contracts/identity/roles"
import { z } from "zod"
import type { ForwardedCall } from "../../router/forwarded-call.ts"
import { foreignRulesLimits } from "./foreign-rules-limits.ts"

/** What a call between two processes carries beside its token. */

const text = z.string().max(1000)
const roleName = z.enum(Object.keys(roles) as [keyof typeof roles])

const caller = z.strictObject({
  account: text,
  principal: text,
  kind: z.string().max(40),
  roles: z.array(roleName),
  permissions: z.array(z.enum(permissions)),
  expiresAt: z.number().optional(),
  nodes: z.string().max(10_000).optional(),
  author: text.optional(),
  credential: text.optional(),
  name: text.optional(),
  teams: z.array(text).optional(),
})

const message = z.strictObject({
  rule: text,
  version: z.int(),
  number: z.int(),
  operation: text,
  targets: z.array(text).max(foreignRulesLimits.targetsMax).readonly(),
  input: z.record(z.string(), z.unknown()),
  author: text,
})

export const callBody = z.strictObject({
  input: z.unknown(),
  context: z.strictObject({
    caller,
    requestId: text,
    cause: text,
    causedBy: text.optional(),
    depth: z.int().min(0),
    sourceAddress: text.optional(),
    once: z
      .strictObject({
        key: text.optional(),
        bodyHash: text,
        isFollowed: z.boolean(),
        approvalRequest: text.optional(),
        asked: z.unknown().optional(),
        messages: z.array(message).max(foreignRulesLimits.messagesMax).readonly().optional(),
      })
      .optional(),
  }),
})

export type CallBody = z.output<typeof callBody>

/** What is sent of a call. */
export function toCallBody(call: ForwardedCall): CallBody {
  const { input, caller: given, requestId, cause, causedBy, depth, sourceAddress, once } = call
  const { permissions: allowed, roles: has, teams, ...rest } = given
  const sent = { ...rest, roles: [...has], permissions: [...allowed], ...(teams ? { teams: [...teams] } : {}) }
  return { input, context: { requestId, cause, causedBy, depth, sourceAddress, once, caller: sent } }
}

const firing = z.object({ rule: z.string(), version: z.int() })

/** What comes back: which call it is the answer to, and the answer. */
export const callAnswer = z.object({
  operation: z.string(),
  requestId: z.string(),
  value: z.unknown(),
  repeated: z.boolean(),
  started: z.object({ event: z.string(), firings: z.array(firing), runs: z.array(z.string()).default([]) }).optional(),
})
