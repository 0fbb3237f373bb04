import { describe, expect, test } from "vitest"
import { ApprovalRun, group, level, start, TestWorld, who } from "./approval-run.fixture.ts"
import { decide } from "./decide.ts"
import { levelTransitions, nextLevelState, type LevelEvent } from "./level-machine.ts"
import { nextQuestionState, questionTransitions, type QuestionEvent } from "./question-machine.ts"
import {
  inputAnswers,
  isRequestEnded,
  nextRequestState,
  requestTransitions,
  type RequestEvent,
} from "./request-machine.ts"
import { isSeatLive, nextSeatState, seatTransitions, type SeatEvent } from "./seat-machine.ts"
import type { Input, InputType, LevelStateName, QuestionStateName, RequestStateName, SeatStateName } from "./types.ts"

type Table<State extends string, Event extends string> = Readonly<Record<State, Readonly<Record<Event, State | "-">>>>

function noneOf<Event extends string>(events: readonly Event[]): Readonly<Record<Event, "-">> {
  return Object.fromEntries(events.map((event) => [event, "-"])) as Record<Event, "-">
}

const requestEvents = ["open", "ask", "resume", "approve", "deny", "expire", "cancel"] as const
const requests: Table<RequestStateName, RequestEvent> = {
  unmatched: {
    open: "open",
    ask: "-",
    resume: "-",
    approve: "approved",
    deny: "denied",
    expire: "expired",
    cancel: "cancelled",
  },
  open: {
    open: "open",
    ask: "asking",
    resume: "-",
    approve: "approved",
    deny: "denied",
    expire: "expired",
    cancel: "cancelled",
  },
  asking: {
    open: "open",
    ask: "-",
    resume: "open",
    approve: "approved",
    deny: "denied",
    expire: "-",
    cancel: "cancelled",
  },
  approved: noneOf(requestEvents),
  denied: noneOf(requestEvents),
  expired: noneOf(requestEvents),
  cancelled: noneOf(requestEvents),
}

const levelEvents = ["open", "meet", "pass", "deny", "expire", "stop", "reset"] as const
const levels: Table<LevelStateName, LevelEvent> = {
  waiting: { ...noneOf(levelEvents), open: "open", reset: "waiting" },
  open: {
    open: "-",
    meet: "met",
    pass: "passed",
    deny: "denied",
    expire: "expired",
    stop: "stopped",
    reset: "waiting",
  },
  met: { ...noneOf(levelEvents), reset: "waiting" },
  passed: { ...noneOf(levelEvents), reset: "waiting" },
  denied: noneOf(levelEvents),
  expired: noneOf(levelEvents),
  stopped: noneOf(levelEvents),
}

const seatEvents = ["approve", "deny", "abstain", "remove", "return"] as const
const voting = { approve: "approved", deny: "denied", abstain: "abstained", remove: "removed", return: "-" } as const
const seats: Table<SeatStateName, SeatEvent> = {
  waiting: voting,
  approved: voting,
  denied: voting,
  abstained: voting,
  barred: noneOf(seatEvents),
  removed: { ...noneOf(seatEvents), return: "waiting" },
}

const questionEvents = ["answer", "lapse", "overtake"] as const
const questions: Table<QuestionStateName, QuestionEvent> = {
  open: { answer: "answered", lapse: "lapsed", overtake: "overtaken" },
  answered: noneOf(questionEvents),
  lapsed: noneOf(questionEvents),
  overtaken: noneOf(questionEvents),
}

function checkTable<State extends string, Event extends string>(
  table: Table<State, Event>,
  next: (state: State, event: Event) => State | undefined,
): void {
  for (const [state, row] of Object.entries(table)) {
    for (const [event, expected] of Object.entries(row as Record<Event, State | "-">)) {
      test(`${state} --${event}--> ${String(expected)}`, () => {
        expect(next(state as State, event as Event) ?? "-").toBe(expected)
      })
    }
  }
}

describe("a request's states", () => {
  checkTable(requests, nextRequestState)
  test("V1: the ended states are those that nothing leaves", () => {
    expect(Object.keys(requestTransitions)).toEqual(Object.keys(requests))
    for (const [state, row] of Object.entries(requests)) {
      expect(isRequestEnded(state as RequestStateName)).toBe(Object.values(row).every((next) => next === "-"))
    }
  })
})

describe("a level's states", () => {
  checkTable(levels, nextLevelState)
  test("no state is missing", () => expect(Object.keys(levelTransitions)).toEqual(Object.keys(levels)))
})

describe("a seat's states", () => {
  checkTable(seats, nextSeatState)
  test("V2: one may vote on a seat that is neither barred nor removed", () => {
    expect(Object.keys(seatTransitions)).toEqual(Object.keys(seats))
    for (const [state, row] of Object.entries(seats)) {
      expect(isSeatLive(state as SeatStateName)).toBe(row.approve !== "-")
    }
  })
})

describe("a question's states", () => {
  checkTable(questions, nextQuestionState)
  test("no state is missing", () => expect(Object.keys(questionTransitions)).toEqual(Object.keys(questions)))
})

const template = { name: "t", version: 1, rule: { levels: [level()] } }
const asker = who("req")

/** Each as somebody sends it who may, at a moment when nothing is due. */
const inputs: Readonly<Record<InputType, Input>> = {
  submit: {
    type: "submit",
    digest: "d1",
    content: {},
    attributes: {},
    requester: { ...asker, roles: [] },
    submitter: asker,
    template,
    unmatched: "wait",
  },
  match: { type: "match", template, content: {}, by: who("admin") },
  vote: { type: "vote", actor: who("ann"), choice: "abstain", digest: "d1", via: "api" },
  ask: { type: "ask", actor: who("ann"), text: "why?", digest: "d1" },
  answer: { type: "answer", actor: asker, text: "so" },
  edit: { type: "edit", actor: asker, digest: "d2", before: {}, after: {} },
  delegate: { type: "delegate", actor: who("ann"), to: who("cleo") },
  timer: { type: "timer" },
  cancel: { type: "cancel", actor: asker, asAdministrator: false },
  "member-removed": { type: "member-removed" },
}

function runIn(state: RequestStateName): ApprovalRun {
  const world = new TestWorld(group("g1", "ann", "bob"))
  const run = new ApprovalRun(world, state === "unmatched" ? null : [level()])
  if (state === "asking") run.ask("bob")
  if (state === "approved") run.vote("bob")
  if (state === "denied") for (const key of ["ann", "bob"]) run.vote(key, "deny")
  if (state === "expired") run.wait(8 * 86_400_000)
  if (state === "cancelled") run.cancel()
  expect(run.state.state).toBe(state)
  return run
}

/** What each input comes to in each state: the state after it, or the refusal. */
const outcomes: Readonly<Record<RequestStateName, Readonly<Record<InputType, string>>>> = {
  unmatched: {
    submit: "already-submitted",
    match: "open",
    vote: "request-unmatched",
    ask: "request-unmatched",
    answer: "no-question",
    edit: "unmatched",
    delegate: "request-unmatched",
    timer: "unmatched",
    cancel: "cancelled",
    "member-removed": "unmatched",
  },
  open: {
    submit: "already-submitted",
    match: "already-matched",
    vote: "open",
    ask: "asking",
    answer: "no-question",
    edit: "open",
    delegate: "open",
    timer: "open",
    cancel: "cancelled",
    "member-removed": "open",
  },
  asking: {
    submit: "already-submitted",
    match: "already-matched",
    vote: "asking",
    ask: "question-open",
    answer: "open",
    edit: "open",
    delegate: "asking",
    timer: "asking",
    cancel: "cancelled",
    "member-removed": "asking",
  },
  approved: endedRow(),
  denied: endedRow(),
  expired: endedRow(),
  cancelled: endedRow(),
}

function endedRow(): Readonly<Record<InputType, string>> {
  const row = Object.fromEntries(Object.keys(inputs).map((type) => [type, "request-ended"])) as Record<
    InputType,
    string
  >
  return { ...row, submit: "already-submitted" }
}

describe("each input in each state", () => {
  for (const [state, row] of Object.entries(outcomes)) {
    for (const [type, expected] of Object.entries(row)) {
      test(`V1, V20: ${type} to a request that is ${state}: ${expected}`, () => {
        const run = runIn(state as RequestStateName)
        const before = JSON.stringify(run.state)
        const answer = run.do(inputs[type as InputType])
        expect(answer === "accepted" ? run.state.state : answer).toBe(expected)
        if (answer !== "accepted") expect(JSON.stringify(run.state)).toBe(before)
        const isJudged = inputAnswers[state as RequestStateName][type as InputType] === "judged"
        expect(isJudged).toBe(answer === "accepted")
      })
    }
  }

  test("V20: before there is a request, only submit makes one", () => {
    const world = new TestWorld(group("g1", "ann"))
    for (const input of Object.values(inputs)) {
      const decision = decide(null, input, world)
      if (input.type === "submit")
        expect(decision).toMatchObject({ outcome: "accepted", state: { submittedAt: start } })
      else expect(decision).toMatchObject({ outcome: "refused", code: "approvals.request-not-found" })
    }
  })
})
