/** What members sign: their votes, and that a key is theirs. */
import {
  memberVoteType,
  voteKeyClaimType,
  type MemberVote,
  type SignedEnvelope,
} from "@signalbox/contracts/approvals/signed-votes"
import { signStatement } from "./signed-envelope.ts"
import type { VoteKey } from "./vote-key.ts"

export function signMemberVote(key: VoteKey, vote: MemberVote): SignedEnvelope {
  return signStatement(key, memberVoteType, vote)
}

/** That whoever is `principal` in this account has the key; `at` is RFC 3339 with milliseconds. */
export function signVoteKeyClaim(
  key: VoteKey,
  of: { readonly account: string; readonly principal: string; readonly at: string },
): SignedEnvelope {
  return signStatement(key, voteKeyClaimType, { ...of, publicKey: key.publicKey })
}
