/**
 * An execution: one run of a workflow over its targets.
 *
 *                            +---------resume---------+
 *                            v                        |
 *   planning --planned--> running --pause--> pausing --drain--> paused
 *      |                     |                  |                  |
 *      |                     +---end-well-------+--> succeeded     |   every target succeeded or was skipped
 *      |                     +---end-badly------+--> incomplete    |   some failed, within the limit
 *      |                     |                  |                  |
 *      +--------stop---------+------stop--------+-------stop-------+
 *                            v
 *                        aborting --settle-by-itself--> failed         the error limit stopped it
 *                                 --settle-by-person--> aborted        a person stopped it
 *
 * `resume` leads from pausing to running too. In `aborting` nothing starts any more, what runs ends (or is killed), and
 * what failed is put back; the execution settles when no slot is held.
 */
import type { ExecutionState } from "./types.ts"

export type ExecutionEvent =
  | "planned"
  | "pause"
  | "resume"
  | "drain"
  | "stop"
  | "end-well"
  | "end-badly"
  | "settle-by-itself"
  | "settle-by-person"

type ExecutionTransitions = Readonly<Record<ExecutionState, Readonly<Partial<Record<ExecutionEvent, ExecutionState>>>>>

const ends = { "end-well": "succeeded", "end-badly": "incomplete" } as const

export const executionTransitions: ExecutionTransitions = {
  planning: { planned: "running", stop: "aborting" },
  running: { pause: "pausing", stop: "aborting", ...ends },
  pausing: { resume: "running", drain: "paused", stop: "aborting", ...ends },
  paused: { resume: "running", stop: "aborting" },
  aborting: { "settle-by-itself": "failed", "settle-by-person": "aborted" },
  succeeded: {},
  incomplete: {},
  failed: {},
  aborted: {},
}

export const executionStates = Object.keys(executionTransitions) as readonly ExecutionState[]

/** The next state, or undefined where the event is not possible in this state. */
export function nextExecutionState(state: ExecutionState, event: ExecutionEvent): ExecutionState | undefined {
  return executionTransitions[state][event]
}

/** Whether the state is final: never left again. */
export function isExecutionEnded(state: ExecutionState): boolean {
  return state === "succeeded" || state === "incomplete" || state === "failed" || state === "aborted"
}
