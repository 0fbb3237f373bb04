/** Counting as one would explain it, without a look into `count-votes.ts`; exponential, for few seats. */
import type { LevelRule } from "./template-rules.ts"
import type { VoteChoice } from "./types.ts"

/** What a seat that is not barred says; null where it has not said anything. */
export interface Ballot {
  readonly weight: number
  readonly choice: VoteChoice | null
  /** Has left the group: says nothing any more, and is still counted as one who could have. */
  readonly isGone: boolean
}

function sum(ballots: readonly Ballot[]): number {
  return ballots.reduce((total, { weight }) => total + weight, 0)
}

/** Whether these ballots approve. */
export function isApprovedBy({ strategy }: LevelRule, ballots: readonly Ballot[]): boolean {
  const counted = ballots.filter(({ choice }) => choice !== "abstain")
  const yes = counted.filter(({ choice }) => choice === "approve")
  if (yes.length === 0) return false
  switch (strategy.kind) {
    case "first-response":
    case "any":
      return true
    case "all":
      return yes.length === counted.length
    case "quorum":
      return sum(yes) >= strategy.count
    case "percentage":
      // In whole numbers, so that nothing is rounded at all.
      return BigInt(sum(yes)) * 100_000n >= BigInt(Math.round(strategy.percent * 1000)) * BigInt(sum(counted))
    case "majority":
      return sum(yes) * 2 > sum(counted)
  }
}

/** All that the missing votes can still become. */
export function completionsOf(rule: LevelRule, ballots: readonly Ballot[]): Ballot[][] {
  const choices: readonly VoteChoice[] =
    rule.abstention === false ? ["approve", "deny"] : ["approve", "deny", "abstain"]
  const [ballot, ...rest] = ballots
  if (!ballot) return [[]]
  const tails = completionsOf(rule, rest)
  const heads = ballot.choice === null && !ballot.isGone ? choices.map((choice) => ({ ...ballot, choice })) : [ballot]
  return heads.flatMap((head) => tails.map((tail) => [head, ...tail]))
}
