/**
 * A task: one target in one execution (D14). Nothing leaves the states on the right.
 *
 *   queued --start--> starting --started--> running --succeed----> succeeded
 *     ^ |                |  |                  |     --fail-------> failed
 *     | |                |  +--succeed, fail,--+     --interrupt--> interrupted
 *     | |                |     interrupt,            --abort------> aborted
 *     | |                |     abort, skip           --skip-------> skipped
 *     | |                +-----unreach------------------------------> unreachable
 *     +-|--retry (from starting or running: an attempt failed for certain and another is left)
 *       +--rest------> never-started (no attempt yet)
 *       +--give-up---> failed        (waiting for a retry when the run stopped)
 *
 * Reports may skip `started`: it can be lost. `unreach` out of `running` is an executor's own word, never a timeout's.
 */
import type { TaskState } from "./types.ts"

export type TaskEvent =
  | "start"
  | "started"
  | "succeed"
  | "fail"
  | "retry"
  | "interrupt"
  | "abort"
  | "skip"
  | "unreach"
  | "rest"
  | "give-up"

type TaskTransitions = Readonly<Record<TaskState, Readonly<Partial<Record<TaskEvent, TaskState>>>>>

const outcomes = {
  succeed: "succeeded",
  fail: "failed",
  retry: "queued",
  interrupt: "interrupted",
  abort: "aborted",
  skip: "skipped",
  unreach: "unreachable",
} as const

export const taskTransitions: TaskTransitions = {
  queued: { start: "starting", rest: "never-started", "give-up": "failed" },
  starting: { started: "running", ...outcomes },
  running: outcomes,
  succeeded: {},
  failed: {},
  aborted: {},
  interrupted: {},
  unreachable: {},
  skipped: {},
  "never-started": {},
}

export const taskStates = Object.keys(taskTransitions) as readonly TaskState[]

/** The next state, or undefined where the event means nothing in this state. */
export function nextTaskState(state: TaskState, event: TaskEvent): TaskState | undefined {
  return taskTransitions[state][event]
}

/** Whether the state is final: never left again. */
export function isTaskEnded(state: TaskState): boolean {
  return state !== "queued" && state !== "starting" && state !== "running"
}
