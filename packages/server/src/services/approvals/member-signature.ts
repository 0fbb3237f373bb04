/** Votes that carry a signature of who gives them: whether it is by a key of theirs, and says what the call says. */
import { readStatement } from "@signalbox/attestation/signed-envelope"
import { findPublicKey } from "@signalbox/attestation/vote-key"
import {
  memberVote,
  memberVoteType,
  signatureLimits,
  signedEnvelope,
  type MemberVote,
  type SignedEnvelope,
} from "@signalbox/contracts/approvals/signed-votes"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import type { ChangeContext } from "../../router/handler.ts"
import { findVoteKey } from "./vote-key-store.ts"

/** What the call itself says. */
export type SaidVote = Pick<MemberVote, "request" | "voter" | "choice" | "digest"> & {
  readonly level?: number | undefined
}

/**
 * The envelope, once it was checked.
 *
 * @throws approvals.signature-refused
 */
export async function checkMemberSignature(
  { tx, account, now }: Pick<ChangeContext, "tx" | "account" | "now">,
  text: string,
  said: SaidVote,
): Promise<SignedEnvelope> {
  const envelope = parseEnvelope(text)
  const keyId = envelope.signatures[0]?.keyid ?? ""
  const known = await findVoteKey(tx, account, keyId)
  if (!known || known.member.key !== said.voter)
    throw refused(`the key ${keyId.slice(0, 12)}… is none that ${said.voter} has registered`)
  if (known.revokedAt !== null)
    throw refused(`the key ${keyId.slice(0, 12)}… was revoked at ${toInstant(known.revokedAt)}`)
  const publicKey = findPublicKey(known.publicKey)
  const read = publicKey && readStatement(envelope, memberVoteType, [publicKey])
  const vote = memberVote.safeParse(read?.statement)
  if (!vote.success) throw refused("the signature does not fit a vote")
  const difference = findDifference(vote.data, { ...said, account })
  if (difference !== undefined) throw refused(`the signed vote names another ${difference} than the call`)
  if (Math.abs(now - Date.parse(vote.data.at)) > signatureLimits.clockSkewMilliseconds)
    throw refused(`it was signed at ${vote.data.at}, and now it is ${toInstant(now)}`)
  return envelope
}

/** @throws approvals.signature-refused */
export function parseEnvelope(text: string): SignedEnvelope {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw refused("it is no JSON", cause)
  }
  const parsed = signedEnvelope.safeParse(value)
  if (!parsed.success || parsed.data.signatures.length !== 1)
    throw refused("it is no DSSE envelope with one signature", parsed.error)
  return parsed.data
}

export function refused(why: string, cause?: unknown): AppError {
  return new AppError("approvals.signature-refused", `the signature is refused: ${why}`, { cause })
}

/** The first member of the statement in which it says something else than the call. */
function findDifference(vote: MemberVote, said: SaidVote & { readonly account: string }): string | undefined {
  const members = ["account", "request", "voter", "choice", "digest", "level"] as const
  return members.find((name) => vote[name] !== said[name])
}
