/**
 * An approval request.
 *
 *   submit, no template --wait--> unmatched ---------open (match)---------+
 *                                    |                                    v
 *   submit, template -------open------|---------------------------------> open <--resume, open--> asking
 *                                    |                                   |  ^                       |
 *                                    |                                   |  +--open (next level)    |
 *                                    v                                   v                          v
 *   approve: approved     deny: denied     expire: expired (never out of asking)     cancel: cancelled
 *
 * `open` out of open and asking: the next level, or the first unmet one after an edit. The last four never change.
 */
import type { InputType, RefusalCode, RequestStateName } from "./types.ts"

export type RequestEvent = "open" | "ask" | "resume" | "approve" | "deny" | "expire" | "cancel"

type Transitions = Readonly<Record<RequestStateName, Readonly<Partial<Record<RequestEvent, RequestStateName>>>>>

const ends = { approve: "approved", deny: "denied", cancel: "cancelled" } as const

export const requestTransitions: Transitions = {
  unmatched: { open: "open", ...ends, expire: "expired" },
  open: { open: "open", ask: "asking", ...ends, expire: "expired" },
  asking: { open: "open", resume: "open", ...ends },
  approved: {},
  denied: {},
  expired: {},
  cancelled: {},
}

/** The next state, or undefined where the event is not possible in this state. */
export function nextRequestState(state: RequestStateName, event: RequestEvent): RequestStateName | undefined {
  return requestTransitions[state][event]
}

/** Whether the request has its result: never left again. */
export function isRequestEnded(state: RequestStateName): boolean {
  return state === "approved" || state === "denied" || state === "expired" || state === "cancelled"
}

type Answer = "judged" | RefusalCode

const ended: Readonly<Record<InputType, Answer>> = {
  submit: "approvals.already-submitted",
  match: "approvals.request-ended",
  vote: "approvals.request-ended",
  ask: "approvals.request-ended",
  answer: "approvals.request-ended",
  edit: "approvals.request-ended",
  delegate: "approvals.request-ended",
  timer: "approvals.request-ended",
  cancel: "approvals.request-ended",
  "member-removed": "approvals.request-ended",
}

const going: Readonly<Record<InputType, Answer>> = {
  submit: "approvals.already-submitted",
  match: "approvals.already-matched",
  vote: "judged",
  ask: "judged",
  answer: "judged",
  edit: "judged",
  delegate: "judged",
  timer: "judged",
  cancel: "judged",
  "member-removed": "judged",
}

const none: Readonly<Record<InputType, Answer>> = {
  submit: "judged",
  match: "approvals.request-not-found",
  vote: "approvals.request-not-found",
  ask: "approvals.request-not-found",
  answer: "approvals.request-not-found",
  edit: "approvals.request-not-found",
  delegate: "approvals.request-not-found",
  timer: "approvals.request-not-found",
  cancel: "approvals.request-not-found",
  "member-removed": "approvals.request-not-found",
}

/** What each input meets in each state: it is judged by its own rules, or refused whoever sends it. */
export const inputAnswers: Readonly<Record<RequestStateName | "none", Readonly<Record<InputType, Answer>>>> = {
  none,
  unmatched: {
    ...going,
    match: "judged",
    vote: "approvals.request-unmatched",
    ask: "approvals.request-unmatched",
    answer: "approvals.no-question",
    delegate: "approvals.request-unmatched",
  },
  open: { ...going, answer: "approvals.no-question" },
  asking: { ...going, ask: "approvals.question-open" },
  approved: ended,
  denied: ended,
  expired: ended,
  cancelled: ended,
}
