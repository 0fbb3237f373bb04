/** Members' answers: votes, questions, and handing a seat over. One check of who may answer for all of them. */
import { approvalLimits } from "./approval-limits.ts"
import { inHand, moveRequest, notify, refuse, requesterOf, setLevel, tell, type Draft, type Refusal } from "./draft.ts"
import { isSeatLive } from "./seat-machine.ts"
import { findBar, isSeatOf, moveSeat, personOf } from "./seats.ts"
import type { Identity } from "./template-rules.ts"
import type { Input, Seat, VoteRecord } from "./types.ts"

type InputOf<Type extends Input["type"]> = Extract<Input, { readonly type: Type }>

interface Claim {
  readonly actor: Identity
  readonly digest?: string
  readonly level?: number
}

const barMessages = {
  "self-approval": "whoever asks for an approval can't give it",
  "same-team": "whoever is of the requester's team can't answer at this level",
} as const

/** Why an actor who has no seat at the open level has none: their level is over, comes later, or there is none. */
function refuseOutsider({ state, world }: Draft, { key }: Identity): Refusal {
  const { level: number, levels, template } = state
  const wasAsked = levels.slice(0, number - 1).some(({ seats }) => seats.some((seat) => isSeatOf(seat, key)))
  if (wasAsked) return refuse("approvals.level-closed", "your level is over")
  const later = template?.rule.levels.slice(number) ?? []
  const comes = later.some(({ group }) => world.findGroup(group)?.members.some((member) => member.key === key))
  if (comes) return refuse("approvals.level-not-open", "your level has not begun")
  return refuse("approvals.not-a-member", "this level was opened for others")
}

/** The live seats for which an actor may answer at the open level. */
function claimSeats(draft: Draft, { actor, digest, level: seen }: Claim): readonly Seat[] | Refusal {
  const { number, rule, level } = inHand(draft)
  const isOutdated = digest !== undefined && digest !== draft.state.digest
  if (seen !== undefined && seen !== number && !isOutdated) {
    return seen < number
      ? refuse("approvals.level-closed", `level ${seen} is over`)
      : refuse("approvals.level-not-open", `level ${seen} has not begun`)
  }
  const bar = findBar(rule, draft.state, actor)
  if (bar === "self-approval") return refuse("approvals.self-approval", barMessages[bar])
  const own = level.seats.filter((seat) => isSeatOf(seat, actor.key))
  if (own.length === 0) return refuseOutsider(draft, actor)
  if (bar) return refuse(`approvals.${bar}`, barMessages[bar])
  const live = own.filter(({ state }) => isSeatLive(state))
  if (live.length === 0) {
    const barred = own.find((seat) => seat.bar)?.bar
    if (barred) return refuse(`approvals.${barred}`, barMessages[barred])
    return refuse("approvals.member-removed", "the member has left the group since the level opened")
  }
  if (isOutdated) {
    return refuse("approvals.content-changed", "the request says something else by now than what was answered")
  }
  return live
}

function isRefusal(claimed: readonly Seat[] | Refusal): claimed is Refusal {
  return "code" in claimed
}

/** A member's own word stands over a delegate's. */
function isOpenTo(actor: Identity, { key, vote }: Seat): boolean {
  return key === actor.key || vote?.by.key !== key
}

function isChanged({ actor, choice }: InputOf<"vote">, { key, vote }: Seat): boolean {
  return vote?.choice !== choice || (key === actor.key && vote.by.key !== key)
}

/** One action votes for all own seats, and those of members in whose place the actor answers. */
export function castVote(draft: Draft, input: InputOf<"vote">): Refusal | undefined {
  const { number, rule, level } = inHand(draft)
  const { actor, choice } = input
  const claimed = claimSeats(draft, input)
  if (isRefusal(claimed)) return claimed
  if (choice === "abstain" && rule.abstention === false) {
    return refuse("approvals.abstention-refused", `level ${rule.name} lets nobody abstain`)
  }
  // A denial stops things: that needs no proof.
  if (rule.signedVotes === "required" && choice !== "deny" && input.isSigned !== true) {
    return refuse("approvals.signature-required", `level ${rule.name} counts no vote without a signature`)
  }
  const free = claimed.filter((seat) => isOpenTo(actor, seat))
  if (free.length === 0) return refuse("approvals.member-has-voted", "the member has voted in person")
  const changed = free.filter((seat) => isChanged(input, seat))
  if (changed.length === 0) return refuse("approvals.already-voted", `this seat's vote is ${choice} already`)
  if (changed.some(({ votesCount }) => votesCount >= approvalLimits.votesOfSeatMax)) {
    return refuse("approvals.limit-reached", `a seat takes at most ${approvalLimits.votesOfSeatMax} votes`)
  }
  const voted = new Map(changed.map((seat) => [seat.key, voteOn(draft, seat, input)]))
  setLevel(draft, number, { seats: level.seats.map((seat) => voted.get(seat.key) ?? seat) })
  return undefined
}

function voteOn(draft: Draft, seat: Seat, { actor, choice, via, comment }: InputOf<"vote">): Seat {
  const { number: level, rule } = inHand(draft)
  const { digest, revision, votesCount } = draft.state
  const number = votesCount + 1
  draft.state = { ...draft.state, votesCount: number }
  const [member, by, at, levelName] = [personOf(seat), personOf(actor), draft.world.now, rule.name]
  const replaces = seat.vote?.number ?? null
  const said = { number, level, levelName, member, by, choice, digest, replaces }
  const vote: VoteRecord = { ...said, revision, via, at, ...(comment !== undefined && { comment }) }
  draft.effects.push({ type: "vote", vote })
  tell(draft, "approval-request.voted", said)
  const counted = { ...seat, votesCount: seat.votesCount + 1 }
  return moveSeat(counted, choice, { number, choice, digest, boundTo: digest, by, via, at })
}

/** The level's clocks stand still from now on. */
export function askRequester(draft: Draft, input: InputOf<"ask">): Refusal | undefined {
  const claimed = claimSeats(draft, input)
  if (isRefusal(claimed)) return claimed
  const { questions, digest } = draft.state
  const { questionsMax, questionExpiresAfterMilliseconds } = approvalLimits
  if (questions.length >= questionsMax) {
    return refuse("approvals.limit-reached", `a request takes at most ${questionsMax} questions`)
  }
  const { number: level, rule } = inHand(draft)
  const [askedAt, by, number] = [draft.world.now, personOf(input.actor), questions.length + 1]
  const lapsesAt = askedAt + questionExpiresAfterMilliseconds
  const question = { number, state: "open", level, by, text: input.text, askedAt, lapsesAt } as const
  draft.state = { ...draft.state, questions: [...questions, question] }
  moveRequest(draft, "ask")
  tell(draft, "approval-request.asked", { level, levelName: rule.name, digest, question: number, by })
  notify(draft, { kind: "question", level, to: [requesterOf(draft.state)], text: input.text })
  return undefined
}

/** A member hands the own seat over, for this request; only an own one, so that it goes from hand to hand but once. */
export function delegateSeat(draft: Draft, { actor, to }: InputOf<"delegate">): Refusal | undefined {
  const claimed = claimSeats(draft, { actor })
  if (isRefusal(claimed)) return claimed
  const seat = claimed.find(({ key }) => key === actor.key)
  if (!seat) return refuse("approvals.delegate-refused", "only members hand over their seat, not their delegates")
  const { number, rule } = inHand(draft)
  if (to?.key === actor.key) return refuse("approvals.delegate-refused", "nobody is the own delegate")
  const bar = to && findBar(rule, draft.state, to)
  if (bar) return refuse(`approvals.${bar}`, barMessages[bar])
  const others = draft.state.delegations.filter(({ member }) => member !== actor.key)
  if (others.length >= approvalLimits.delegationsMax) {
    return refuse("approvals.limit-reached", `a request takes at most ${approvalLimits.delegationsMax} delegates`)
  }
  const own = to ? [{ member: actor.key, to: personOf(to) }] : []
  draft.state = { ...draft.state, delegations: [...others, ...own] }
  const { digest } = draft.state
  const member = personOf(seat)
  const levelName = rule.name
  tell(draft, "approval-request.delegated", { level: number, levelName, digest, member, to: to && personOf(to) })
  return undefined
}
