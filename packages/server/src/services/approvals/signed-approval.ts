/** Votes and results as signed statements (DSSE), so that anybody can check later, and offline, who said what. */
import type { VoteRecord } from "@signalbox/approvals/types"
import { toInstant } from "@signalbox/kernel/clock"
import { signStatement, type SignedEnvelope } from "../../storage/signed-envelope.ts"
import type { SigningKey } from "../../storage/signing-key.ts"

export const voteStatementType = "application/vnd.signalbox.vote+json"
export const resultStatementType = "application/vnd.signalbox.approval-result+json"

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
