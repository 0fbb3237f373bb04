/**
 * The way back of one task, beside its state. It is asked for once the task has ended badly, and ends once.
 *
 *   none --ask--> pending --started--> running --restored---> rolled-back
 *                    |                    |    --break------> rollback-failed
 *                    +--(the same four)---+    --refuse-----> not-reversible
 *                                              --lose-------> unknown (no word in time, or the node says so)
 */
import type { RollbackState } from "./types.ts"

export type RollbackEvent = "ask" | "started" | "restored" | "break" | "refuse" | "lose"

type RollbackTransitions = Readonly<Record<RollbackState, Readonly<Partial<Record<RollbackEvent, RollbackState>>>>>

const outcomes = {
  restored: "rolled-back",
  break: "rollback-failed",
  refuse: "not-reversible",
  lose: "unknown",
} as const

export const rollbackTransitions: RollbackTransitions = {
  none: { ask: "pending" },
  pending: { started: "running", ...outcomes },
  running: outcomes,
  "rolled-back": {},
  "rollback-failed": {},
  "not-reversible": {},
  unknown: {},
}

export const rollbackStates = Object.keys(rollbackTransitions) as readonly RollbackState[]

/** The next state, or undefined where the event means nothing in this state. */
export function nextRollbackState(state: RollbackState, event: RollbackEvent): RollbackState | undefined {
  return rollbackTransitions[state][event]
}

/** Whether a rollback is asked for and has not ended, so that the target's slot is still held. */
export function isRollbackOpen(state: RollbackState): boolean {
  return state === "pending" || state === "running"
}
