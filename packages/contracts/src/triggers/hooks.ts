import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { duration, instant, limits, pageInput, pageOf, resourceName } from "../schemas.ts"
import { triggerLimits } from "./trigger-limits.ts"

/** How it is known that a call comes from whom the hook was made for. */
export const hookKinds = ["standard", "github", "hmac", "bearer", "path"] as const

const headerName = z
  .string()
  .toLowerCase()
  .regex(/^[a-z0-9][a-z0-9-]{0,63}$/, "use letters, digits and dashes")

const signature = z
  .strictObject({
    header: headerName.describe("The header that carries the signature"),
    prefix: z.string().max(32).default("").describe("What stands before it, as in sha256="),
    algorithm: z.enum(["sha256", "sha512"]).default("sha256"),
    encoding: z.enum(["hex", "base64"]).default("hex"),
  })
  .describe("hmac: where the HMAC of the body is; the key is the hook's secret")

/** What a person writes of a hook; addresses and secrets are made beside it. */
export const hookFields = {
  name: resourceName,
  description: z.string().max(limits.noteLengthMax).optional(),
  verify: z
    .enum(hookKinds)
    .default("standard")
    .describe(
      "standard: Standard Webhooks; github: X-Hub-Signature-256; hmac: another header; bearer: Authorization; path: the address alone",
    ),
  signature: signature.optional(),
  idHeader: headerName
    .optional()
    .describe("hmac, bearer, path: the header with the message's id; a repeated id counts once"),
  headers: z
    .array(headerName)
    .max(triggerLimits.hookHeadersMax)
    .default([])
    .describe("Headers that rules may see, beside content-type and user-agent"),
  enabled: z.boolean().default(true),
}

export const hook = z
  .object({
    id: z.string(),
    ...hookFields,
    signature: signature.optional(),
    previousUntil: instant.optional().describe("Until when the secret or address before this one is taken too"),
    version: z.int(),
    createdAt: instant,
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("An address to which others send webhooks")

const shownOnce = {
  url: z.string().optional().describe("Where the other side sends to; shown when it is made, and by hooks.rotate"),
  secret: z.string().optional().describe("What the other side signs with; shown when it is made, and by hooks.rotate"),
}

const givenSecret = z
  .string()
  .min(16)
  .max(256)
  .regex(/^[\x21-\x7e]*$/, "use printable characters without spaces")
  .describe("A secret that the other side has already; left out, one is made")

export const hooksPut = defineOperation({
  name: "hooks.put",
  service: "triggers",
  summary: "Create or change a hook: an address to which others send webhooks",
  description:
    "Each message that is verified becomes the event `webhook.received` with `{ webhook, body, headers }`. A new hook's address and secret are shown once. Changing a hook leaves both as they are.",
  method: "PUT",
  path: "/v1/hooks/{name}",
  effect: "change",
  permission: "hooks.write",
  nodeScope: "none",
  input: z.strictObject({ ...hookFields, secret: givenSecret.optional() }),
  output: hook.extend({ changed: z.boolean(), ...shownOnce }),
  secretInput: ["secret"],
  secretOutput: ["url", "secret"],
  errors: ["triggers.invalid-hook", "triggers.too-many"],
})

export const hooksList = defineOperation({
  name: "hooks.list",
  service: "triggers",
  summary: "List hooks",
  method: "GET",
  path: "/v1/hooks",
  effect: "read",
  permission: "hooks.read",
  nodeScope: "none",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(hook),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "verify", "enabled", "description", "changedAt", "changedBy"] },
})

export const hooksGet = defineOperation({
  name: "hooks.get",
  service: "triggers",
  summary: "Show a hook",
  method: "GET",
  path: "/v1/hooks/{name}",
  effect: "read",
  permission: "hooks.read",
  nodeScope: "none",
  input: z.strictObject({ name: resourceName }),
  output: hook,
  errors: ["triggers.hook-not-found"],
})

export const hooksRemove = defineOperation({
  name: "hooks.remove",
  service: "triggers",
  summary: "Remove a hook: its address answers no more",
  method: "DELETE",
  path: "/v1/hooks/{name}",
  effect: "change",
  permission: "hooks.write",
  nodeScope: "none",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["triggers.hook-not-found"],
})

export const hooksRotate = defineOperation({
  name: "hooks.rotate",
  service: "triggers",
  summary: "Give a hook another secret, or another address where that is its secret",
  description:
    "The one before is taken too until `keep` is over, so that the other side can be changed without losing messages.",
  method: "POST",
  path: "/v1/hooks/{name}:rotate",
  effect: "change",
  permission: "hooks.write",
  nodeScope: "none",
  input: z.strictObject({
    name: resourceName,
    secret: givenSecret.optional(),
    address: z.boolean().default(false).describe("Make another address too; for `path` that is what is rotated"),
    keep: duration.default("1h").describe("How long the one before is taken too; 0s ends it at once"),
  }),
  output: hook.extend(shownOnce),
  secretInput: ["secret"],
  secretOutput: ["url", "secret"],
  errors: ["triggers.hook-not-found", "triggers.invalid-hook"],
})

/** What the edge passes on of a webhook: the bytes of its body as they came, since signatures are over them. */
export const hooksReceive = defineOperation({
  name: "hooks.receive",
  service: "triggers",
  summary: "Take a webhook at a hook's address",
  description:
    "Senders use the hook's own address, /hooks/TOKEN, which hands body and headers to this operation. The token in the path is the credential.",
  method: "POST",
  path: "/v1/hook-messages/{token}",
  effect: "change",
  permission: "hooks.receive",
  gateable: false,
  nodeScope: "none",
  input: z.strictObject({
    token: z.string().min(1).max(200),
    body: z
      .base64()
      .max(Math.ceil(triggerLimits.hookBodyBytesMax / 3) * 4)
      .describe("The body's bytes in base64"),
    headers: z.record(z.string().max(128), z.string().max(8192)).describe("Names in lower case"),
  }),
  output: z.object({
    id: z.string().describe("Of the message: the subject of its event"),
    repeated: z.boolean().describe("It came before, and counts once"),
  }),
  tokenInput: "token",
  secretInput: ["token"],
  errors: ["triggers.message-refused", "triggers.invalid-message", "triggers.hook-busy"],
})

export const hooksOperations = [hooksPut, hooksList, hooksGet, hooksRemove, hooksRotate, hooksReceive] as const
