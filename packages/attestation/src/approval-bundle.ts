/**
 * Checks an approval by what it carries and by the keys that somebody trusts: no server, no database, no network. The
 * same for an agent and for `signalbox approvals verify`. Pure but for the cryptography.
 */
import { createHash, type KeyObject } from "node:crypto"
import {
  approvalBundle,
  eachNodePlan,
  memberVote,
  memberVoteType,
  resultStatementType,
  signatureLimits,
  voteStatementType,
  type ApprovalBundle,
  type ApprovalTrust,
  type EachNodePlan,
  type MemberVote,
  type SignedEnvelope,
} from "@signalbox/contracts/approvals/signed-votes"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { findDuration } from "@signalbox/kernel/duration"
import { z } from "zod"
import { readStatement } from "./signed-envelope.ts"
import { findPublicKey } from "./vote-key.ts"

const maxAgeDefault = 7 * 24 * 3_600_000

/** What is wrong, and where in the bundle. */
export interface Fault {
  /** Such as `content` or `votes.1.signature`. */
  readonly place: string
  readonly message: string
}

export interface Approver {
  /** As the trust calls them. */
  readonly member: string
  readonly vote: MemberVote
}

export interface CheckedApproval {
  readonly account: string
  readonly request: string
  /** SHA-256 of the canonical JSON of the content. */
  readonly digest: string
  readonly content: unknown
  /** One for each trusted member who signed an approval of this content. */
  readonly approvers: readonly Approver[]
}

export type Check<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly fault: Fault }

const failed = (place: string, message: string): { ok: false; fault: Fault } => ({
  ok: false,
  fault: { place, message },
})

/** What every statement of the installation about a request says. */
const installationVote = z.object({
  account: z.string(),
  request: z.string(),
  level: z.int(),
  choice: z.string(),
  digest: z.string(),
})
const installationResult = z.object({
  request: z.string(),
  digest: z.string(),
  result: z.string(),
  votesDigest: z.string(),
})

/**
 * Whether enough different trusted members signed that they approve this content, lately. What the installation signed
 * counts for nothing here: a server that was taken over can sign anything.
 *
 * @param now milliseconds of the checker's own clock
 */
export function checkMembers(bundle: ApprovalBundle, trust: ApprovalTrust, now: number): Check<CheckedApproval> {
  const digest = sha256(canonicalJson(bundle.content ?? null))
  const approvers = new Map<string, Approver>()
  let first: MemberVote | undefined
  for (const [index, { signature }] of bundle.votes.entries()) {
    if (!signature) continue
    const place = `votes.${index}.signature`
    const read = readMemberVote(signature, trust)
    if (!read) continue
    const { member, vote } = read
    if (vote.choice !== "approve" || vote.digest !== digest) continue
    if (first && (vote.request !== first.request || vote.account !== first.account))
      return failed(place, `${member} signed for ${vote.request}, others for ${first.request}`)
    const age = ageFault(vote, trust, now)
    if (age !== undefined) return failed(place, `${member}'s vote ${age}`)
    first ??= vote
    approvers.set(member, { member, vote })
  }
  if (!first || approvers.size < trust.quorum)
    return failed("votes", `${approvers.size} of ${trust.quorum} trusted members signed that they approve this content`)
  const { account, request } = first
  return { ok: true, value: { account, request, digest, content: bundle.content, approvers: [...approvers.values()] } }
}

function ageFault({ at }: MemberVote, { maxAge }: ApprovalTrust, now: number): string | undefined {
  const given = maxAge === undefined ? maxAgeDefault : (findDuration(maxAge) ?? 0)
  const most = Math.min(given, signatureLimits.maxAgeMilliseconds)
  const age = now - Date.parse(at)
  if (age > most) return `of ${at} is older than ${maxAge ?? "7d"}`
  return age < -signatureLimits.clockSkewMilliseconds ? `of ${at} is of the future` : undefined
}

/** The vote of a trusted member; undefined where no trusted key signed it. */
function readMemberVote(envelope: SignedEnvelope, { keys }: ApprovalTrust): Approver | undefined {
  for (const { member, key } of keys) {
    const publicKey = findPublicKey(key)
    const read = publicKey && readStatement(envelope, memberVoteType, [publicKey])
    const vote = read && memberVote.safeParse(read.statement)
    if (vote?.success) return { member, vote: vote.data }
  }
  return undefined
}

/**
 * A bundle as it was exported, every byte of it: written in the one way, with every envelope of a member whose key is
 * trusted good, and every envelope of the installation good and about the same, where its key is known.
 */
export function checkExport(
  text: string,
  trust: ApprovalTrust,
  options: { readonly now: number; readonly installation: readonly string[] },
): Check<CheckedApproval> {
  const parsed = parseBundle(text)
  if (!parsed.ok) return parsed
  const bundle = parsed.value
  const digest = sha256(canonicalJson(bundle.content ?? null))
  const keys = options.installation.flatMap((key) => findPublicKey(key) ?? [])
  const fault = findInstallationFault(bundle, { keys, digest }) ?? findSignatureFault(bundle, trust)
  return fault ? { ok: false, fault } : checkMembers(bundle, trust, options.now)
}

function parseBundle(text: string): Check<ApprovalBundle> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return failed("the file", "this is no JSON")
  }
  const parsed = approvalBundle.safeParse(value)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    return failed(issue?.path.map(String).join(".") || "the file", issue?.message ?? "this is no approval")
  }
  if (`${canonicalJson(value)}\n` !== text) return failed("the file", "this is not as it was exported")
  return { ok: true, value: parsed.data }
}

/** Every envelope of a member has to be about the vote beside it, and good where the key is trusted. */
function findSignatureFault({ votes }: ApprovalBundle, trust: ApprovalTrust): Fault | undefined {
  for (const [index, { envelope, signature }] of votes.entries()) {
    if (!signature) continue
    const place = `votes.${index}.signature`
    const read = readMemberVote(signature, trust)
    if (!read) {
      // Somebody else's, whom this trust doesn't name, counts for nothing.
      if (!trust.keys.some(({ key }) => isNamed(signature, key))) continue
      return { place, message: "the signature does not fit what is signed" }
    }
    const about = installationVote.safeParse(readUnchecked(envelope))
    const { account, request, level, choice, digest } = read.vote
    const says = canonicalJson({ account, request, level, choice, digest })
    if (!about.success || canonicalJson(about.data) !== says)
      return { place: `votes.${index}`, message: "the installation and the member say different things" }
  }
  return undefined
}

function isNamed({ signatures }: SignedEnvelope, key: string): boolean {
  const publicKey = findPublicKey(key)
  const der = publicKey?.export({ type: "spki", format: "der" })
  const keyId = der && createHash("sha256").update(der).digest("hex")
  return signatures.some(({ keyid }) => keyid === keyId)
}

function readUnchecked({ payload }: SignedEnvelope): unknown {
  try {
    return JSON.parse(Buffer.from(payload, "base64").toString("utf8"))
  } catch {
    return undefined
  }
}

function findInstallationFault(
  { votes, result }: ApprovalBundle,
  { keys, digest }: { readonly keys: readonly KeyObject[]; readonly digest: string },
): Fault | undefined {
  if (keys.length === 0) return undefined
  const ended = readStatement(result, resultStatementType, keys)
  const said = ended && installationResult.safeParse(ended.statement)
  if (!said?.success) return { place: "result", message: "the installation's signature does not fit" }
  if (said.data.digest !== digest) return { place: "content", message: "this is not the content that was approved" }
  if (said.data.result !== "approved") return { place: "result", message: `the request was ${said.data.result}` }
  for (const [index, { envelope }] of votes.entries()) {
    const read = readStatement(envelope, voteStatementType, keys)
    const vote = read && installationVote.safeParse(read.statement)
    const place = `votes.${index}.envelope`
    if (!vote?.success) return { place, message: "the installation's signature does not fit" }
    if (vote.data.request !== said.data.request) return { place, message: `it is a vote on ${vote.data.request}` }
  }
  if (said.data.votesDigest !== digestOfVotes(votes)) return { place: "votes", message: "these are not all its votes" }
  return undefined
}

/** Over the votes of a bundle, so that none of them can be taken out of it. */
export function digestOfVotes(votes: ApprovalBundle["votes"]): string {
  return sha256(canonicalJson(votes))
}

/** What a run's plan says of each node; undefined where the content is none of a run. */
export function findEachNodePlan(content: unknown): EachNodePlan | undefined {
  const plan = z.object({ plan: z.object({ onEachNode: eachNodePlan }) }).safeParse(content)
  return plan.success ? plan.data.plan.onEachNode : undefined
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex")
}
