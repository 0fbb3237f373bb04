import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, instantInput, limits } from "../schemas.ts"

/** A record as it is sealed; what has no value is left out. Its members are those that the hash covers, all of them. */
export const chainRecord = z.object({
  id: z.string(),
  aggregate: z.string(),
  account: z.string(),
  time: z.string().describe("RFC 3339, UTC, microseconds"),
  position: z.string().describe("The place in the order of commits"),
  principal: z.string(),
  operation: z.string(),
  subject: z.string(),
  outcome: z.string(),
  cause: z.string(),
  causedBy: z.string().optional(),
  sourceAddress: z.string().optional(),
  inputDigest: z.string(),
})

export const chainLink = z.object({
  number: z.int().describe("From 1, without a gap; 0 is before the first record"),
  hash: z.string().describe("SHA-256 of the canonical JSON of number, previous hash and record"),
})

export const signedEnvelope = z
  .object({
    payloadType: z.string().max(128),
    payload: z.string().max(1_000_000).describe("Base64"),
    signatures: z.array(z.object({ keyid: z.string().max(128), sig: z.string().max(1000) })).max(10),
  })
  .describe("A signed statement in the form of DSSE 1.0")

const checkpoint = z.object({
  envelope: signedEnvelope.describe("Signs account, number, hash and time"),
  publicKey: z.string().describe("Of the key that signed: SPKI in PEM"),
})

export const auditExport = defineOperation({
  name: "audit.export",
  service: "audit",
  summary: "Read a stretch of the audit chain, in the order of its seals",
  description:
    "Pages of records with number and hash, from which anybody can compute the chain again. With a time, the stretch holds every sealed record of that time, and may hold some of the minute before and after.",
  method: "GET",
  path: "/v1/audit:export",
  effect: "read",
  permission: "audit.read",
  input: z.strictObject({
    from: instantInput.optional().describe("Records from this instant on"),
    to: instantInput.optional().describe("Records before this instant"),
    cursor: z.string().max(512).optional().describe("Where the page before ended"),
    limit: z.coerce.number().int().min(1).max(limits.pageItemsMax).default(500).describe("Records in a page"),
  }),
  output: z.object({
    account: z.string(),
    start: chainLink.describe("The link before the first record of this page"),
    items: z.array(
      chainLink.extend({
        recordId: z.string(),
        record: chainRecord.optional().describe("Absent where the sealed record is gone"),
      }),
    ),
    unsealed: z
      .array(z.object({ id: z.string(), position: z.string() }))
      .describe("Records that stand between those of this page and have no seal: somebody put them in"),
    checkpoints: z.array(checkpoint).describe("Signed checkpoints of this page's records"),
    end: chainLink.describe("The last link of the stretch"),
    isToHead: z.boolean().describe("The stretch goes to the end of the chain as it is now"),
    nextCursor: z.string().optional().describe("Absent on the last page"),
  }),
  errors: ["request.invalid-cursor"],
})

export const auditCheckpoint = defineOperation({
  name: "audit.checkpoint",
  service: "audit",
  summary: "Sign the head of the audit chain as it is now",
  description:
    "Keep it elsewhere: `signalbox audit verify --checkpoint FILE` then finds it if the end of the chain is cut off or written anew.",
  method: "GET",
  path: "/v1/audit:checkpoint",
  effect: "read",
  permission: "audit.read",
  input: z.strictObject({}),
  output: chainLink.extend({ account: z.string(), time: instant, ...checkpoint.shape }),
  errors: [],
})

export const signingKeysList = defineOperation({
  name: "signing-keys.list",
  service: "audit",
  summary: "List the public keys that this installation signs and signed with",
  method: "GET",
  path: "/v1/signing-keys",
  effect: "read",
  permission: "auth.read",
  input: z.strictObject({}),
  output: z.object({
    items: z.array(
      z.object({
        keyId: z.string().describe("SHA-256 of the public key (SPKI, DER)"),
        algorithm: z.literal("ed25519"),
        publicKey: z.string().describe("SPKI in PEM"),
        createdAt: instant,
        current: z.boolean().describe("This server signs with it"),
      }),
    ),
  }),
  errors: [],
  table: { rows: "items", columns: ["keyId", "algorithm", "createdAt", "current"] },
})

export const chainOperations = [auditExport, auditCheckpoint, signingKeysList] as const
