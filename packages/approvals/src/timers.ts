/** What time alone does to a request, in the order in which it falls due, however late it is looked at. */
import { assert } from "@signalbox/kernel/assert"
import { approvalLimits } from "./approval-limits.ts"
import {
  inHand,
  moveQuestion,
  moveRequest,
  notify,
  openQuestion,
  recipientsOf,
  liveSeats,
  setLevel,
  tell,
  waitingSeats,
  type Draft,
} from "./draft.ts"
import { end, escalateLevel, expireLevel, judgeLevels } from "./level-steps.ts"
import { personOf } from "./seats.ts"
import type { LevelTimers } from "./types.ts"

/** Each level can escalate, remind and expire, and each question lapse, once in one look. */
const turnsMax = 4 * approvalLimits.levelsMax + approvalLimits.questionsMax

/** Fires all that is due at `world.now`. */
export function fireDueTimers(draft: Draft): void {
  for (let turns = 0; turns < turnsMax; turns++) {
    if (!fireNext(draft)) return
  }
  assert(false, "a timer fires again and again")
}

/** Fires what was due first; whether anything was. */
function fireNext(draft: Draft): boolean {
  const { state, world } = draft
  if (state.state === "unmatched") {
    if (state.unmatchedUntil === null || state.unmatchedUntil > world.now) return false
    end(draft, "expire", { result: "denied", reason: "timeout", level: null })
    return true
  }
  const question = openQuestion(state)
  if (question) {
    if (question.lapsesAt > world.now) return false
    lapseQuestion(draft)
    return true
  }
  return state.state === "open" && fireLevelTimer(draft)
}

function fireLevelTimer(draft: Draft): boolean {
  const { timers } = inHand(draft).level
  assert(timers !== null, "an open level has timers")
  const { expiresAt, escalatesAt, remindsAt } = timers
  const due = Math.min(expiresAt, escalatesAt ?? Infinity, remindsAt ?? Infinity)
  if (due > draft.world.now) return false
  if (due === expiresAt) {
    expireLevel(draft)
  } else if (due === escalatesAt) {
    escalateLevel(draft)
    judgeLevels(draft)
  } else {
    remind(draft, timers)
  }
  return true
}

/** One reminder, however many were missed; the next one keeps to the rhythm. */
function remind(draft: Draft, timers: LevelTimers): void {
  const { number, rule, level } = inHand(draft)
  const { reminders } = rule
  assert(reminders !== undefined && timers.remindsAt !== null, "only a level with reminders reminds")
  const { everyMilliseconds, max = approvalLimits.remindersMaxDefault } = reminders
  const remindersCount = level.remindersCount + 1
  const missed = Math.floor((draft.world.now - timers.remindsAt) / everyMilliseconds)
  const next = timers.remindsAt + (missed + 1) * everyMilliseconds
  setLevel(draft, number, { remindersCount, timers: { ...timers, remindsAt: remindersCount < max ? next : null } })
  const waiting = waitingSeats(level.seats)
  const { digest } = draft.state
  const members = waiting.map(personOf)
  tell(draft, "approval-request.reminded", { level: number, levelName: rule.name, digest, members })
  notify(draft, { kind: "reminder", level: number, to: recipientsOf(waiting) })
}

/** The level's clocks go on after having stood still from `askedAt` to `at`. */
export function resumeClocks(draft: Draft, askedAt: number, at: number): void {
  const { number, level } = inHand(draft)
  const { timers } = level
  assert(timers !== null, "an open level has timers")
  const stood = Math.max(0, at - askedAt)
  const later = (time: number | null): number | null => (time === null ? null : time + stood)
  setLevel(draft, number, {
    timers: {
      expiresAt: timers.expiresAt + stood,
      escalatesAt: later(timers.escalatesAt),
      remindsAt: later(timers.remindsAt),
    },
  })
  moveRequest(draft, "resume")
}

function lapseQuestion(draft: Draft): void {
  const { number: question, askedAt, lapsesAt } = moveQuestion(draft, "lapse")
  resumeClocks(draft, askedAt, lapsesAt)
  const { number, rule, level } = inHand(draft)
  const { digest } = draft.state
  tell(draft, "approval-request.answered", { level: number, levelName: rule.name, digest, question })
  notify(draft, { kind: "answer", level: number, to: recipientsOf(liveSeats(level.seats)) })
}
