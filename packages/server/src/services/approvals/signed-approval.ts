/** Votes and results as signed statements (DSSE), so that anybody can check later, and offline, who said what. */
import { signStatement } from "@signalbox/attestation/signed-envelope"
import {
  resultStatementType,
  voteStatementType,
  type SignedEnvelope,
} from "@signalbox/contracts/approvals/signed-votes"
import type { VoteRecord } from "@signalbox/approvals/types"
import { toInstant } from "@signalbox/kernel/clock"
import type { SigningKey } from "../../storage/signing-key.ts"

export function signVote(
  key: SigningKey,
  request: { readonly id: string; readonly account: string },
  vote: VoteRecord,
): SignedEnvelope {
  const { number, level, levelName, member, by, choice, digest, revision, via, comment, at } = vote
  return signStatement(key, voteStatementType, {
    account: request.account,
    request: request.id,
    ...{ number, level, levelName, member, by, choice, digest, revision, via },
    ...(comment === undefined ? {} : { comment }),
    at: toInstant(at),
  })
}

export function signResult(key: SigningKey, result: Readonly<Record<string, unknown>>): SignedEnvelope {
  return signStatement(key, resultStatementType, result)
}
