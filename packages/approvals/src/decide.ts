import { assert } from "@signalbox/kernel/assert"
import {
  effectsOf,
  inHand,
  notify,
  openQuestion,
  refuse,
  setLevel,
  turnsGained,
  type Draft,
  type Refusal,
} from "./draft.ts"
import { judgeLevels } from "./level-steps.ts"
import { inputAnswers } from "./request-machine.ts"
import { answerQuestion, cancel, edit, matchTemplate, newRequest, submit } from "./requester-input.ts"
import { refreshSeats } from "./seats.ts"
import { fireDueTimers } from "./timers.ts"
import type { Decision, Input, RefusalCode, RequestState, World } from "./types.ts"
import { askRequester, castVote, delegateSeat } from "./vote-input.ts"

/**
 * What an input does to a request: the one place where approvals are decided, for API, links, administrators and timers
 * alike (A16). It changes nothing it was given, and the same input gives the same decision. Whoever has left a group has
 * left the seat, and what is due has happened, before the input is looked at.
 *
 * @param state null before `submit`
 * @example decide(state, { type: "vote", actor, choice: "approve", digest, via: "api" }, world)
 */
export function decide(state: RequestState | null, input: Input, world: World): Decision {
  if (state === null) {
    if (input.type !== "submit") return refused(inputAnswers.none[input.type], input)
    const draft: Draft = { state: newRequest(input, world), effects: [], world }
    submit(draft, input)
    judgeLevels(draft)
    return { outcome: "accepted", state: draft.state, effects: effectsOf(draft) }
  }
  const answer = inputAnswers[state.state][input.type]
  if (answer !== "judged") return refused(answer, input)
  const draft: Draft = { state, effects: [], world }
  refreshLevel(draft)
  fireDueTimers(draft)
  const refusal = input.type === "timer" ? undefined : apply(draft, input)
  if (refusal) return { outcome: "refused", ...refusal }
  refreshLevel(draft)
  judgeLevels(draft)
  return { outcome: "accepted", state: draft.state, effects: effectsOf(draft) }
}

/** Seats as the directory is now; whoever gets a turn by that is told. */
function refreshLevel(draft: Draft): void {
  const { state } = draft.state
  if (state !== "open" && state !== "asking") return
  const { number, level } = inHand(draft)
  const seats = refreshSeats(draft.state, level.seats, draft.world)
  if (seats === level.seats) return
  setLevel(draft, number, { seats })
  notify(draft, { kind: "decide", level: number, to: turnsGained(level.seats, seats) })
}

/** By its own rules, or refused: a timer that was due may have changed what is possible. */
function apply(draft: Draft, input: Input): Refusal | undefined {
  const answer = inputAnswers[draft.state.state][input.type]
  if (answer !== "judged") return refuse(answer, messageOf(answer, input))
  switch (input.type) {
    case "match":
      matchTemplate(draft, input)
      return undefined
    case "vote":
      return castVote(draft, input)
    case "ask":
      return askRequester(draft, input)
    case "answer":
      assert(openQuestion(draft.state), "while asking, a question is open")
      return answerQuestion(draft, input)
    case "edit":
      return edit(draft, input)
    case "delegate":
      return delegateSeat(draft, input)
    case "cancel":
      return cancel(draft, input)
    case "submit":
    case "timer":
    case "member-removed":
      return undefined
  }
}

const messages: Partial<Record<RefusalCode, string>> = {
  "approvals.request-not-found": "there is no such request",
  "approvals.already-submitted": "the request was submitted before",
  "approvals.request-ended": "the request has ended",
  "approvals.request-unmatched": "no template was found for the request yet",
  "approvals.already-matched": "the request has its template",
  "approvals.question-open": "a question waits for the requester's answer",
  "approvals.no-question": "no question waits for an answer",
}

function messageOf(code: RefusalCode, input: Input): string {
  return messages[code] ?? `${input.type} is not possible now`
}

function refused(code: RefusalCode | "judged", input: Input): Decision {
  assert(code !== "judged", `${input.type} is refused without a reason`)
  return { outcome: "refused", code, message: messageOf(code, input) }
}
