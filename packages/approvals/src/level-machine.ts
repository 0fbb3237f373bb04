/**
 * A level of a request.
 *
 *   waiting --open--> open --meet----> met        its strategy is satisfied
 *      ^               |---pass----> passed     an escalation went on to the next level
 *      |               |---deny----> denied     ends the request
 *      |               |---expire--> expired    ends the request with its template's default
 *      |               '---stop----> stopped    the request ended by something else than this level
 *      '----reset---- open, met, passed         an edit; met stays where the edit keeps the votes
 */
import type { LevelStateName } from "./types.ts"

export type LevelEvent = "open" | "meet" | "pass" | "deny" | "expire" | "stop" | "reset"

type Transitions = Readonly<Record<LevelStateName, Readonly<Partial<Record<LevelEvent, LevelStateName>>>>>

export const levelTransitions: Transitions = {
  waiting: { open: "open", reset: "waiting" },
  open: { meet: "met", pass: "passed", deny: "denied", expire: "expired", stop: "stopped", reset: "waiting" },
  met: { reset: "waiting" },
  passed: { reset: "waiting" },
  denied: {},
  expired: {},
  stopped: {},
}

/** The next state, or undefined where the event is not possible in this state. */
export function nextLevelState(state: LevelStateName, event: LevelEvent): LevelStateName | undefined {
  return levelTransitions[state][event]
}
