/**
 * Votes that members sign with keys of their own, and what proves an approval without asking any server: statements in
 * DSSE envelopes, the bundle of them, and whose keys somebody trusts.
 */
import { z } from "zod"
import { taskOrder } from "../fleet/agent-protocol.ts"
import { duration, instant, resourceName } from "../schemas.ts"
import { digest, requestId, voteChoices } from "./request-shapes.ts"

export const memberVoteType = "application/vnd.signalbox.member-vote+json"
export const voteKeyClaimType = "application/vnd.signalbox.vote-key+json"
/** By the installation's key. */
export const voteStatementType = "application/vnd.signalbox.vote+json"
export const resultStatementType = "application/vnd.signalbox.approval-result+json"

export const signatureLimits = {
  envelopeBytesMax: 256 * 1024,
  /** Of a member's, as JSON. */
  memberEnvelopeLengthMax: 4_096,
  signaturesMax: 8,
  /** Of one account. */
  voteKeysMax: 5_000,
  /** Of members, in a trust file or an agent's policy. */
  trustedKeysMax: 200,
  /** How far the clocks of a member's machine and of whoever checks may be apart. */
  clockSkewMilliseconds: 10 * 60_000,
  /** No approval is trusted for longer; so long an agent remembers which run one was used for. */
  maxAgeMilliseconds: 400 * 24 * 3_600_000,
  /** Runs over more targets carry no proof for their nodes. */
  provenTargetsMax: 200_000,
  /** A longer order is not spelled out in what is approved, so no agent can compare it. */
  spelledOrderBytesMax: 128 * 1024,
} as const

/** A public key in one line: the 32 bytes of Ed25519 in base64. */
export const votePublicKey = z
  .string()
  .regex(/^ed25519:[A-Za-z0-9+/]{43}=$/, "a public key is ed25519: and 44 characters of base64")

const base64 = z.string().regex(/^[A-Za-z0-9+/]*={0,2}$/, "this is base64")

/** DSSE 1.0. */
export const signedEnvelope = z
  .strictObject({
    payloadType: z.string().max(128),
    payload: base64.max(signatureLimits.envelopeBytesMax),
    signatures: z
      .array(z.strictObject({ keyid: z.string().max(128), sig: base64.max(128) }))
      .min(1)
      .max(signatureLimits.signaturesMax),
  })
  .describe("A statement in a DSSE envelope")

/** What a member signs. */
export const memberVote = z.strictObject({
  account: z.string().min(1).max(64),
  request: requestId,
  level: z.int().min(1),
  voter: z.string().min(1).max(128).describe("The principal who votes, a delegate for instance"),
  choice: z.enum(voteChoices),
  digest,
  at: instant,
})

/** What proves that somebody who registers a key has it. */
export const voteKeyClaim = z.strictObject({
  account: z.string().min(1).max(64),
  principal: z.string().min(1).max(128),
  publicKey: votePublicKey,
  at: instant,
})

/** An approval with all that proves it, to be checked anywhere. Written as canonical JSON and one line break. */
export const approvalBundle = z
  .strictObject({
    format: z.literal("signalbox-approval/1"),
    content: z.unknown().describe("What was approved, whole"),
    votes: z.array(
      z.strictObject({
        envelope: signedEnvelope.describe("The vote, signed by the installation"),
        signature: signedEnvelope.optional().describe("The vote, signed by who gave it"),
      }),
    ),
    result: signedEnvelope.describe("What the request came to, signed by the installation"),
  })
  .describe("An approval with all that proves it")

const trustedKey = z.strictObject({
  member: resourceName.describe("Who holds the key; several keys of one member count as one"),
  key: votePublicKey,
})

/** Whose signatures make an approval, for an agent or for `approvals verify`. */
export const approvalTrust = z.strictObject({
  keys: z.array(trustedKey).min(1).max(signatureLimits.trustedKeysMax),
  quorum: z.int().min(1).max(signatureLimits.trustedKeysMax).default(1).describe("So many different members"),
  maxAge: duration.optional().describe("How old the votes may be; 400 days at most, and by default 7"),
})

/** For `approvals verify`: beside the members the installation, whose signatures cover every byte of an export. */
export const exportTrust = approvalTrust.extend({
  installation: z
    .array(z.string().max(1000))
    .max(20)
    .default([])
    .describe("Its public keys, in PEM or as ed25519:…; `signalbox signing-keys list` shows them"),
})

/** What the plan of a run says about each node: enough for the node to know an order that nobody approved. */
export const eachNodePlan = z.strictObject({
  /** The order, with `‹node.id›`, `‹node.name›` and `‹node.tags.KEY›` where a node's own values stand. */
  order: taskOrder.optional(),
  /** How often the brackets are doubled: more often than anywhere in the workflow. */
  brackets: z.int().min(1).max(1000),
  attemptsMax: z.int().min(1),
  /** Root of the Merkle tree over the targets, each `{ id, name, tags, runner? }`, in the order of their ids. */
  targetsRoot: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  targetsCount: z.int().min(1),
  /** The health check's command, and the node that is asked. */
  probe: z.strictObject({ on: z.string(), command: z.string() }).optional(),
})

/** A target as the tree has it. */
export const provenTarget = z.strictObject({
  id: z.string().max(128),
  name: z.string().max(256),
  tags: z.record(z.string(), z.string()),
  runner: z.string().max(128).optional().describe("The node whose agent carries it out, where that is another"),
})

/** A target with the way from it to the root. */
export const targetProof = z.strictObject({
  target: provenTarget,
  index: z.int().min(0),
  hashes: z.array(z.string().regex(/^[0-9a-f]{64}$/)).max(64),
})

export type SignedEnvelope = z.output<typeof signedEnvelope>
export type MemberVote = z.output<typeof memberVote>
export type ApprovalBundle = z.output<typeof approvalBundle>
export type ApprovalTrust = z.output<typeof approvalTrust>
export type EachNodePlan = z.output<typeof eachNodePlan>
export type ProvenTarget = z.output<typeof provenTarget>
export type TargetProof = z.output<typeof targetProof>
