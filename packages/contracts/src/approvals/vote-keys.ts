import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, pageInput, pageOf } from "../schemas.ts"
import { note, person } from "./request-shapes.ts"
import { signatureLimits, votePublicKey } from "./signed-votes.ts"

const keyId = z
  .string()
  .regex(/^[0-9a-f]{64}$/, "a key's id is 64 hexadecimal digits")
  .describe("SHA-256 of the public key (SPKI, DER)")

export const envelopeText = z
  .string()
  .min(2)
  .max(signatureLimits.memberEnvelopeLengthMax)
  .describe("A DSSE envelope in JSON")

export const voteKey = z
  .object({
    id: keyId,
    member: person.describe("Who votes with it"),
    publicKey: votePublicKey,
    note: note.optional(),
    state: z.enum(["active", "revoked"]),
    version: z.int(),
    createdAt: instant,
    revokedAt: instant.optional(),
    revokedBy: z.string().optional(),
  })
  .describe("A key that a member signs votes with; its private half never leaves the member's machine")

export const voteKeysAdd = defineOperation({
  name: "vote-keys.add",
  service: "approvals",
  summary: "Register a key that the caller signs votes with",
  description: "The proof is a statement that the key itself signed: `signalbox approvals keygen` makes both.",
  method: "POST",
  path: "/v1/vote-keys",
  effect: "change",
  permission: "approvals.answer",
  input: z.strictObject({ publicKey: votePublicKey, proof: envelopeText, note: note.optional() }),
  output: voteKey,
  errors: ["approvals.signature-refused", "approvals.vote-key-exists", "approvals.too-many"],
})

export const voteKeysList = defineOperation({
  name: "vote-keys.list",
  service: "approvals",
  summary: "List the keys that members sign votes with",
  method: "GET",
  path: "/v1/vote-keys",
  effect: "read",
  permission: "approvals.read",
  input: z.strictObject({ ...pageInput, mine: z.enum(["true", "false"]).optional() }),
  output: pageOf(voteKey),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["id", "member.key", "member.name", "publicKey", "state", "createdAt"] },
})

export const voteKeysRevoke = defineOperation({
  name: "vote-keys.revoke",
  service: "approvals",
  summary: "Refuse votes signed with a key from now on",
  description: "Votes it signed before stand. The caller's own key; an administrator may revoke anybody's.",
  method: "POST",
  path: "/v1/vote-keys/{voteKey}:revoke",
  effect: "change",
  permission: "approvals.answer",
  input: z.strictObject({ voteKey: keyId }),
  output: voteKey,
  errors: ["approvals.vote-key-not-found"],
})

export const voteKeysOperations = [voteKeysAdd, voteKeysList, voteKeysRevoke] as const
