import { createHash } from "node:crypto"
import { signMemberVote } from "@signalbox/attestation/member-vote"
import { leafHash, MerkleTree } from "@signalbox/attestation/merkle-tree"
import { placeholderNode } from "@signalbox/attestation/order-template"
import { signStatement } from "@signalbox/attestation/signed-envelope"
import { findVoteKey, newVoteKeyPem, type VoteKey } from "@signalbox/attestation/vote-key"
import {
  voteStatementType,
  type EachNodePlan,
  type MemberVote,
  type ProvenTarget,
} from "@signalbox/contracts/approvals/signed-votes"
import type { TaskOrder } from "@signalbox/contracts/fleet/agent-protocol"
import type { OutputOf } from "@signalbox/contracts/operation"
import type { executionsEvidence } from "@signalbox/contracts/workflows/execution-evidence"
import { assert } from "@signalbox/kernel/assert"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { orderOf, shell } from "./protocol-server.fixture.ts"

/** Approvals as members sign them and servers show them, and what can be wrong with them. */
export type Evidence = OutputOf<typeof executionsEvidence>

export function newVoteKey(): VoteKey {
  const key = findVoteKey(newVoteKeyPem())
  assert(key, "a new key is one")
  return key
}

export const members = { ada: newVoteKey(), ben: newVoteKey() }
export const trust = {
  keys: Object.entries(members).map(([member, { publicKey }]) => ({ member, key: publicKey })),
  quorum: 2,
}
export const identity = { account: "main", node: "nod_1", name: "web-1" }
export const targets: readonly ProvenTarget[] = [
  { id: "nod_0", name: "web-0", tags: {} },
  { id: "nod_1", name: "web-1", tags: {} },
  { id: "res_1", name: "db-1", tags: {}, runner: "nod_1" },
]

export const orderFor = ({ name }: Pick<ProvenTarget, "name">): TaskOrder => orderOf([shell(`echo ${name}`)])

export interface Approved {
  readonly request?: string
  readonly plan?: Partial<EachNodePlan>
  /** One vote for each; two of the usual members where left out. */
  readonly votes?: ReadonlyArray<{ readonly key: VoteKey } & Partial<MemberVote>>
  readonly now: number
}

export function approve({ request = "apr_1", plan = {}, votes, now }: Approved): Evidence["approval"] {
  const { root } = new MerkleTree(targets.map(leafHash))
  const onEachNode: EachNodePlan = {
    ...{ order: orderFor(placeholderNode(1, [])), brackets: 1, attemptsMax: 2 },
    ...{ targetsRoot: root, targetsCount: targets.length, ...plan },
  }
  const content = { operation: "executions.create", plan: { onEachNode } }
  const digest = createHash("sha256").update(canonicalJson(content)).digest("hex")
  const at = new Date(now).toISOString()
  const usual = { account: "main", request, level: 1, choice: "approve", digest, at } as const
  const given = votes ?? Object.values(members).map((key) => ({ key }))
  const installation = newVoteKey()
  return {
    format: "signalbox-approval/1",
    content,
    votes: given.map(({ key, ...said }, index) => ({
      envelope: signStatement(installation, voteStatementType, { ...usual, ...said }),
      signature: signMemberVote(key, { ...usual, voter: `usr_${index}`, ...said }),
    })),
    result: signStatement(installation, "result", {}),
  }
}

export function proofOf(index: number): NonNullable<Evidence["proof"]> {
  const target = targets[index]
  assert(target, "the target is there")
  return { target, index, hashes: new MerkleTree(targets.map(leafHash)).prove(index) }
}
