/**
 * The one mutable thing of a decision: the request as it becomes, and what has to follow. Every move of a machine goes
 * through here, so that none can be skipped. Only this package's own files use it, and it does not outlive the decision.
 */
import { assert } from "@signalbox/kernel/assert"
import { nextLevelState, type LevelEvent } from "./level-machine.ts"
import { nextQuestionState, type QuestionEvent } from "./question-machine.ts"
import { isRequestEnded, nextRequestState, type RequestEvent } from "./request-machine.ts"
import { isSeatLive } from "./seat-machine.ts"
import { personOf } from "./seats.ts"
import type { LevelRule } from "./template-rules.ts"
import type {
  ApprovalEventName,
  ApprovalEvents,
  Effect,
  LevelState,
  NoticeKind,
  Question,
  Recipient,
  RefusalCode,
  RequestState,
  Seat,
  World,
} from "./types.ts"

export interface Draft {
  state: RequestState
  readonly effects: Effect[]
  readonly world: World
}

export interface Refusal {
  readonly code: RefusalCode
  readonly message: string
}

export function refuse(code: RefusalCode, message: string): Refusal {
  return { code, message }
}

/** The level in hand: its number from 1, its rule and how it stands. */
export interface LevelInHand {
  readonly number: number
  readonly rule: LevelRule
  readonly level: LevelState
  readonly isLast: boolean
}

export function ruleOf(state: RequestState, number: number): LevelRule {
  const rule = state.template?.rule.levels[number - 1]
  assert(rule !== undefined, `the template has no level ${number}`)
  return rule
}

export function levelOf(state: RequestState, number: number): LevelState {
  const level = state.levels[number - 1]
  assert(level !== undefined, `the request has no level ${number}`)
  return level
}

export function inHand({ state }: Pick<Draft, "state">): LevelInHand {
  const { level: number, levels } = state
  const rule = ruleOf(state, number)
  return { number, rule, level: levelOf(state, number), isLast: number === levels.length }
}

export function moveRequest(draft: Draft, event: RequestEvent): void {
  const state = nextRequestState(draft.state.state, event)
  assert(state !== undefined, `a request that is ${draft.state.state} can't ${event}`)
  draft.state = { ...draft.state, state }
}

export function setLevel(draft: Draft, number: number, change: Partial<LevelState>): void {
  const levels = draft.state.levels.map((level, index) => (index === number - 1 ? { ...level, ...change } : level))
  draft.state = { ...draft.state, levels }
}

export function moveLevel(draft: Draft, number: number, event: LevelEvent): void {
  const { state: from } = levelOf(draft.state, number)
  const state = nextLevelState(from, event)
  assert(state !== undefined, `a level that is ${from} can't ${event}`)
  const closed = from === "open" ? { closedAt: draft.world.now, timers: null } : {}
  setLevel(draft, number, { state, ...closed })
}

/** The question that waits for an answer. */
export function openQuestion({ questions }: RequestState): Question | undefined {
  const last = questions.at(-1)
  return last?.state === "open" ? last : undefined
}

export function moveQuestion(draft: Draft, event: QuestionEvent, answer?: Question["answer"]): Question {
  const question = openQuestion(draft.state)
  assert(question !== undefined, `no question is open to ${event}`)
  const state = nextQuestionState(question.state, event)
  assert(state !== undefined, `a question that is ${question.state} can't ${event}`)
  const moved: Question = { ...question, state, ...(answer && { answer }) }
  draft.state = { ...draft.state, questions: draft.state.questions.with(-1, moved) }
  return moved
}

export function tell<Name extends ApprovalEventName>(draft: Draft, name: Name, data: ApprovalEvents[Name]): void {
  // A name goes with its own data by this function's type, which a union can't express.
  draft.effects.push({ type: "event", name, data } as Effect)
}

interface Notice {
  readonly kind: NoticeKind
  readonly level: number | null
  readonly to: readonly Recipient[]
  readonly text?: string
}

export function notify(draft: Draft, notice: Notice): void {
  if (notice.to.length > 0) draft.effects.push({ type: "notice", ...notice })
}

/** Members of seats, and whoever votes in their place now. */
export function recipientsOf(seats: readonly Seat[]): Recipient[] {
  return seats.flatMap((seat) => [
    { person: personOf(seat), seat: seat.key },
    ...(seat.delegate ? [{ person: seat.delegate, seat: seat.key }] : []),
  ])
}

function nameOf({ person, seat }: Recipient): string {
  return JSON.stringify([person.key, seat])
}

/** Whose turn it is after a change, and was not before. */
export function turnsGained(before: readonly Seat[], after: readonly Seat[]): Recipient[] {
  const had = new Set(recipientsOf(waitingSeats(before)).map(nameOf))
  return recipientsOf(waitingSeats(after)).filter((recipient) => !had.has(nameOf(recipient)))
}

export function liveSeats(seats: readonly Seat[]): Seat[] {
  return seats.filter(({ state }) => isSeatLive(state))
}

export function waitingSeats(seats: readonly Seat[]): Seat[] {
  return seats.filter(({ state }) => state === "waiting")
}

export function requesterOf({ requester }: RequestState): Recipient {
  return { person: personOf(requester), seat: null }
}

/** What is still to be told: nobody is called to a vote that is over by now, and nobody twice. */
export function effectsOf({ state, effects }: Pick<Draft, "state" | "effects">): Effect[] {
  const isGoingOn = state.state === "open" || state.state === "asking"
  const turns = isGoingOn ? recipientsOf(waitingSeats(levelOf(state, state.level).seats)) : []
  const waiting = new Set(turns.map(nameOf))
  const called = new Set<string>()
  return effects.flatMap((effect): Effect[] => {
    if (effect.type !== "notice") return [effect]
    switch (effect.kind) {
      case "decide":
      case "reminder": {
        const isCall = effect.kind === "decide"
        const isOver = effect.level !== state.level
        const to = effect.to.filter((each) => !isOver && waiting.has(nameOf(each)) && !called.has(nameOf(each)))
        if (isCall) for (const each of to) called.add(nameOf(each))
        return to.length > 0 ? [{ ...effect, to }] : []
      }
      case "question":
        return state.state === "asking" ? [effect] : []
      case "pre-notice":
      case "escalation":
        return isRequestEnded(state.state) ? [] : [effect]
      default:
        return [effect]
    }
  })
}
