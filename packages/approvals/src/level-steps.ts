/** How levels open, close and escalate, and how a request ends. */
import { approvalLimits } from "./approval-limits.ts"
import { countVotes, type Count } from "./count-votes.ts"
import {
  inHand,
  liveSeats,
  moveLevel,
  moveQuestion,
  moveRequest,
  notify,
  openQuestion,
  recipientsOf,
  requesterOf,
  ruleOf,
  levelOf,
  setLevel,
  tell,
  turnsGained,
  waitingSeats,
  type Draft,
} from "./draft.ts"
import { escalationGroupOf, joinSeats, personOf, pinSeats, refreshSeats } from "./seats.ts"
import type { LevelRule, Person } from "./template-rules.ts"
import type { LevelTimers, Outcome, OutcomeReason, RequestState, Seat, World } from "./types.ts"

/** A level's seats as they would be pinned now, with the votes of before that count for the present content. */
export function seatsToOpen(state: RequestState, number: number, world: World): readonly Seat[] {
  const rule = ruleOf(state, number)
  const votes = new Map(levelOf(state, number).seats.map((seat) => [seat.key, seat]))
  const pinned = pinSeats({ rule, askers: state, world }, rule.group).map((seat) => {
    const before = votes.get(seat.key)
    const isKept = before?.vote?.boundTo === state.digest && seat.state === "waiting"
    return isKept ? { ...seat, state: before.state, vote: before.vote } : seat
  })
  return refreshSeats(state, pinned, world)
}

function timersOf(rule: LevelRule, now: number): LevelTimers {
  const { expiresAfterMilliseconds = approvalLimits.expiresAfterMillisecondsDefault, escalation, reminders } = rule
  return {
    expiresAt: now + expiresAfterMilliseconds,
    escalatesAt: escalation ? now + escalation.afterMilliseconds : null,
    remindsAt: reminders ? now + reminders.everyMilliseconds : null,
  }
}

export function openLevel(draft: Draft, number: number): void {
  const { world } = draft
  const seats = seatsToOpen(draft.state, number, world)
  const rule = ruleOf(draft.state, number)
  const { openings } = levelOf(draft.state, number)
  moveRequest(draft, "open")
  moveLevel(draft, number, "open")
  draft.state = { ...draft.state, level: number }
  setLevel(draft, number, {
    openings: openings + 1,
    openedAt: world.now,
    closedAt: null,
    seats,
    timers: timersOf(rule, world.now),
    escalated: false,
    remindersCount: 0,
  })
  const { digest } = draft.state
  const members = liveSeats(seats).map(personOf)
  tell(draft, "approval-request.level-opened", { level: number, levelName: rule.name, digest, members })
  notify(draft, { kind: "decide", level: number, to: recipientsOf(waitingSeats(seats)) })
}

/** The seats that the level would have after its escalation; undefined where that would add nobody, or has fired. */
function escalatedSeats(draft: Draft): Seat[] | undefined {
  const { rule, level, isLast } = inHand(draft)
  const group = level.escalated ? undefined : escalationGroupOf(rule, isLast)
  if (group === undefined) return undefined
  return joinSeats(level.seats, pinSeats({ rule, askers: draft.state, world: draft.world }, group))
}

/** Where the level in hand stands now (D25). */
export function countLevel(draft: Draft): Count {
  const { rule, level } = inHand(draft)
  return countVotes(rule, level.seats, escalatedSeats(draft))
}

/** Closes the level in hand as often as its votes say so. */
export function judgeLevels(draft: Draft): void {
  for (let turns = 0; turns <= approvalLimits.levelsMax; turns++) {
    const { state } = draft.state
    if (state !== "open" && state !== "asking") return
    const count = countLevel(draft)
    const { number, isLast } = inHand(draft)
    if (count.state === "open") return
    if (count.state === "denied") return end(draft, "deny", { result: "denied", reason: count.reason, level: number })
    overtakeQuestion(draft)
    moveLevel(draft, number, "meet")
    if (isLast) return end(draft, "approve", { result: "approved", reason: "votes", level: number })
    openLevel(draft, number + 1)
  }
}

export function overtakeQuestion(draft: Draft): void {
  if (openQuestion(draft.state)) moveQuestion(draft, "overtake")
}

const levelEnds = { votes: "deny", veto: "deny", unreachable: "deny", timeout: "expire" } as const

function levelEventOf(reason: OutcomeReason): "deny" | "expire" | "stop" {
  return reason in levelEnds ? levelEnds[reason as keyof typeof levelEnds] : "stop"
}

const endEvents = {
  approve: "approval-request.approved",
  deny: "approval-request.denied",
  expire: "approval-request.expired",
  cancel: "approval-request.cancelled",
} as const

/** Who hears of the result: the requester, whoever voted, and whoever was being asked. */
function resultRecipients({ state }: Draft): ReturnType<typeof recipientsOf> {
  const heard = new Map([[state.requester.key, requesterOf(state)]])
  for (const { state: levelState, seats } of state.levels) {
    const isAsked = levelState !== "waiting" && levelState !== "met" && levelState !== "passed"
    for (const seat of liveSeats(seats)) {
      if (!isAsked && !seat.vote) continue
      for (const recipient of recipientsOf([seat])) {
        if (!heard.has(recipient.person.key)) heard.set(recipient.person.key, recipient)
      }
    }
  }
  return [...heard.values()]
}

export function end(draft: Draft, event: keyof typeof endEvents, outcome: Outcome): void {
  overtakeQuestion(draft)
  const { level: number, digest } = draft.state
  if (number > 0 && levelOf(draft.state, number).state === "open") {
    moveLevel(draft, number, levelEventOf(outcome.reason))
  }
  moveRequest(draft, event)
  draft.state = { ...draft.state, outcome, endedAt: draft.world.now, unmatchedUntil: null }
  const { reason, level, by } = outcome
  tell(draft, endEvents[event], { digest, reason, level, ...(by && { by }) })
  notify(draft, { kind: "result", level, to: resultRecipients(draft) })
}

/** The level's time is over: the whole request has its template's default. */
export function expireLevel(draft: Draft): void {
  const { template, criteriaFault } = draft.state
  const { number } = inHand(draft)
  const approves = template?.rule.onExpiry === "approve" && criteriaFault === null
  if (approves) return end(draft, "approve", { result: "approved", reason: "timeout", level: number })
  end(draft, "expire", { result: "denied", reason: "timeout", level: number })
}

/** Once a level and opening (A10): members join, or the next level opens, or all are told once more. */
export function escalateLevel(draft: Draft): void {
  const { number, rule, level, isLast } = inHand(draft)
  const jumped = rule.escalation?.jump === true && !isLast
  const seats = escalatedSeats(draft) ?? level.seats
  const before = new Set(level.seats.map(({ key }) => key))
  const joined = refreshSeats(draft.state, seats, draft.world)
  const fresh = liveSeats(joined).filter(({ key }) => !before.has(key))
  const { timers } = level
  setLevel(draft, number, {
    seats: joined,
    escalated: true,
    timers: timers && { ...timers, escalatesAt: null },
  })
  const added: Person[] = fresh.map(personOf)
  const { digest } = draft.state
  tell(draft, "approval-request.escalated", { level: number, levelName: rule.name, digest, added, jumped })
  const told = recipientsOf(liveSeats(joined).filter(({ key }) => before.has(key)))
  notify(draft, { kind: "escalation", level: number, to: [requesterOf(draft.state), ...told] })
  if (!jumped) return notify(draft, { kind: "decide", level: number, to: turnsGained(level.seats, joined) })
  moveLevel(draft, number, "pass")
  openLevel(draft, number + 1)
}
