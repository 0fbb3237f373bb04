/** One opened level as the simulator keeps it by itself: who sits there, what they said, for how long it has been open. */
import { completionsOf, isApprovedBy, type Ballot } from "../naive-count.fixture.ts"
import type { TestWorld } from "../approval-run.fixture.ts"
import type { Identity, LevelRule, RejectionRule } from "../template-rules.ts"
import type { VoteChoice } from "../types.ts"
import { requester, submitter } from "./scenario.fixture.ts"

export interface ShadowVote {
  readonly number: number
  readonly choice: VoteChoice
  readonly by: string
}

export interface ShadowSeat {
  weight: number
  veto: boolean
  readonly isBarred: boolean
  readonly groups: Set<string>
  vote: ShadowVote | null
}

const askers = [requester, submitter]

/** Whether a rule keeps this person from answering, whoever the person answers for. */
export function isBarredBy(rule: LevelRule, { keys, teams }: Identity): boolean {
  if (askers.some((asker) => asker.keys.some((key) => keys.includes(key)))) return rule.selfApproval !== true
  return rule.sameTeam === "barred" && teams.includes("blue")
}

export class ShadowLevel {
  readonly rule: LevelRule
  readonly isLast: boolean
  readonly world: TestWorld
  seats = new Map<string, ShadowSeat>()
  isMet = false
  isEscalated = false
  openedAt = 0
  remindersCount = 0
  stoodMilliseconds = 0
  askedAt: number | null = null
  /** Whom this opening called to vote, by person and seat. */
  readonly told = new Set<string>()

  constructor(rule: LevelRule, isLast: boolean, world: TestWorld) {
    this.rule = rule
    this.isLast = isLast
    this.world = world
  }

  open(kept: ReadonlyMap<string, ShadowVote>): void {
    this.seats = this.membersOf(this.rule.group)
    for (const [key, seat] of this.seats) if (!seat.isBarred) seat.vote = kept.get(key) ?? null
    this.openedAt = this.world.now
    this.isMet = false
    this.isEscalated = false
    this.remindersCount = 0
    this.stoodMilliseconds = 0
    this.askedAt = null
    this.told.clear()
  }

  membersOf(name: string): Map<string, ShadowSeat> {
    const members = this.world.findGroup(name)?.members.filter(({ disabled }) => disabled !== true) ?? []
    return new Map(
      members.map((member) => {
        const { key, weight = 1, veto = false } = member
        return [key, { weight, veto, isBarred: isBarredBy(this.rule, member), groups: new Set([name]), vote: null }]
      }),
    )
  }

  /** The seats that there are, or would be, after the escalation. */
  escalatedSeats(): Map<string, ShadowSeat> {
    const seats = new Map([...this.seats].map(([key, seat]) => [key, { ...seat, groups: new Set(seat.groups) }]))
    const { escalation } = this.rule
    const jumps = escalation?.jump === true && !this.isLast
    if (jumps || escalation?.group === undefined) return seats
    for (const [key, added] of this.membersOf(escalation.group)) {
      const seat = seats.get(key)
      if (seat) {
        seat.weight = Math.max(seat.weight, added.weight)
        seat.veto ||= added.veto
        seat.groups.add(escalation.group)
      } else {
        seats.set(key, added)
      }
    }
    return seats
  }

  isGone(key: string, { groups }: ShadowSeat): boolean {
    return ![...groups].some((name) =>
      this.world.findGroup(name)?.members.some((member) => member.key === key && member.disabled !== true),
    )
  }

  /** The votes of those who have left are void for good. */
  forgetGone(): void {
    for (const [key, seat] of this.seats) if (this.isGone(key, seat)) seat.vote = null
  }

  ballots(seats = this.seats): Ballot[] {
    return [...seats]
      .filter(([, { isBarred }]) => !isBarred)
      .map(([key, seat]) => ({
        weight: seat.weight,
        choice: seat.vote?.choice ?? null,
        isGone: this.isGone(key, seat),
      }))
  }

  firstWord(): VoteChoice | undefined {
    const said = [...this.seats.values()].flatMap(({ vote }) => (vote && vote.choice !== "abstain" ? [vote] : []))
    return said.toSorted((a, b) => a.number - b.number)[0]?.choice
  }

  hasVeto(): boolean {
    const { veto = "none" } = this.rule
    return [...this.seats.values()].some(
      (seat) => seat.vote?.choice === "deny" && (veto === "any" || (veto === "marked" && seat.veto)),
    )
  }

  isRejected(): boolean {
    const { strategy, reject } = this.rule
    if (strategy.kind === "first-response" && this.firstWord() !== undefined) return this.firstWord() === "deny"
    return reject !== undefined && isRejectedBy(reject, this.ballots())
  }

  isApproved(): boolean {
    if (this.hasVeto() || this.isRejected()) return false
    return isApprovedBy(this.rule, this.ballots())
  }

  /** Whether some completion approves; by force where there are few, else by the best one: everybody says yes. */
  isReachable(): boolean {
    const cases = [this.ballots(), ...(this.isEscalated ? [] : [this.ballots(this.escalatedSeats())])]
    return cases.some((ballots) => {
      const missing = ballots.filter(({ choice, isGone }) => choice === null && !isGone).length
      if (missing <= 4) return completionsOf(this.rule, ballots).some((each) => isApprovedBy(this.rule, each))
      const best = ballots.map((each) =>
        each.choice === null && !each.isGone ? { ...each, choice: "approve" as const } : each,
      )
      return isApprovedBy(this.rule, best)
    })
  }

  /** For how long the clocks have gone. */
  elapsed(): number {
    const { now } = this.world
    return now - this.openedAt - this.stoodMilliseconds - (this.askedAt === null ? 0 : now - this.askedAt)
  }
}

function isRejectedBy(reject: RejectionRule, ballots: readonly Ballot[]): boolean {
  const sum = (some: readonly Ballot[]): number => some.reduce((total, { weight }) => total + weight, 0)
  const no = sum(ballots.filter(({ choice }) => choice === "deny"))
  if ("count" in reject) return no >= reject.count
  const base = sum(ballots.filter(({ choice }) => choice !== "abstain"))
  return no > 0 && BigInt(no) * 100_000n >= BigInt(Math.round(reject.percent * 1000)) * BigInt(base)
}
