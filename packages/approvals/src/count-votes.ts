import type { LevelRule, RejectionRule } from "./template-rules.ts"
import type { Seat } from "./types.ts"
import { approvalLimits } from "./approval-limits.ts"

/** Where a level stands. Weights where the strategy counts weights, seats where it counts seats. */
export type Count =
  | { readonly state: "met" }
  | { readonly state: "denied"; readonly reason: "votes" | "veto" | "unreachable" }
  | {
      readonly state: "open"
      readonly approvals: number
      readonly denials: number
      readonly abstentions: number
      readonly waiting: number
      /** How much more has to say yes, as things are. */
      readonly approvalsNeeded: number
      /** How much more would have to say no for the rejection rule; null where there is none. */
      readonly denialsNeeded: number | null
    }

interface Tally {
  readonly approvals: number
  readonly denials: number
  readonly abstentions: number
  readonly waiting: number
  /** All that could have approved but for those who abstain. Who was removed stays in it: no group edit eases approval. */
  readonly base: number
}

function tallyOf(seats: readonly Seat[], weightOf: (seat: Seat) => number): Tally {
  const tally = { approvals: 0, denials: 0, abstentions: 0, waiting: 0, base: 0 }
  for (const seat of seats) {
    if (seat.state === "barred") continue
    const weight = weightOf(seat)
    if (seat.state === "abstained") tally.abstentions += weight
    else tally.base += weight
    if (seat.state === "approved") tally.approvals += weight
    if (seat.state === "denied") tally.denials += weight
    if (seat.state === "waiting") tally.waiting += weight
  }
  return tally
}

/** A share of a base, rounded up, at least 1. Exact: percentages are whole thousandths. */
function shareOf(percent: number, base: number): number {
  const { percentScale } = approvalLimits
  const scaled = Math.round(percent * percentScale) * base
  return Math.max(1, Math.ceil(scaled / (100 * percentScale)))
}

const weightOf = (seat: Seat): number => seat.weight
const countsWeights = new Set(["quorum", "percentage", "majority"])

function tallyFor({ strategy }: LevelRule, seats: readonly Seat[]): Tally {
  return tallyOf(seats, countsWeights.has(strategy.kind) ? weightOf : () => 1)
}

/** What has to say yes. Abstaining never lowers this by more than it takes away, so approving is always the better help. */
function approvalsFor({ strategy }: LevelRule, { base }: Tally): number {
  switch (strategy.kind) {
    case "first-response":
    case "any":
      return 1
    case "all":
      return Math.max(1, base)
    case "quorum":
      return Math.max(1, strategy.count)
    case "percentage":
      return shareOf(strategy.percent, base)
    case "majority":
      return Math.floor(base / 2) + 1
  }
}

function denialsFor(reject: RejectionRule, seats: readonly Seat[]): number {
  return "count" in reject ? reject.count : shareOf(reject.percent, tallyOf(seats, weightOf).base)
}

function isReachable(rule: LevelRule, seats: readonly Seat[]): boolean {
  const tally = tallyFor(rule, seats)
  return tally.approvals + tally.waiting >= approvalsFor(rule, tally)
}

/** The vote that came first and is no abstention. */
function firstWord(seats: readonly Seat[]): Seat | undefined {
  const spoken = seats.filter(({ state }) => state === "approved" || state === "denied")
  return spoken.toSorted((a, b) => (a.vote?.number ?? 0) - (b.vote?.number ?? 0))[0]
}

function isVeto({ veto = "none" }: LevelRule, seat: Seat): boolean {
  return seat.state === "denied" && (veto === "any" || (veto === "marked" && seat.veto))
}

/**
 * Where a level stands (A3): met, denied, or open as long as some completion of the votes that are missing approves it.
 * The order of votes matters to `first-response` alone. An approval never makes it worse.
 *
 * @param escalated the seats that the level would have after an escalation that has not fired (D25)
 */
export function countVotes(rule: LevelRule, seats: readonly Seat[], escalated?: readonly Seat[]): Count {
  if (seats.some((seat) => isVeto(rule, seat))) return { state: "denied", reason: "veto" }
  if (rule.strategy.kind === "first-response") {
    const first = firstWord(seats)
    if (first) return first.state === "approved" ? { state: "met" } : { state: "denied", reason: "votes" }
  }
  const denials = tallyOf(seats, weightOf).denials
  const denialsNeeded = rule.reject ? denialsFor(rule.reject, seats) - denials : null
  if (denialsNeeded !== null && denialsNeeded <= 0) return { state: "denied", reason: "votes" }
  const tally = tallyFor(rule, seats)
  const approvalsNeeded = approvalsFor(rule, tally) - tally.approvals
  if (approvalsNeeded <= 0) return { state: "met" }
  if (!isReachable(rule, seats) && !(escalated && isReachable(rule, escalated))) {
    return { state: "denied", reason: "unreachable" }
  }
  const { approvals, abstentions, waiting } = tally
  return { state: "open", approvals, denials: tally.denials, abstentions, waiting, approvalsNeeded, denialsNeeded }
}
