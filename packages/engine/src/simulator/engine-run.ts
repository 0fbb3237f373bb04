import type { EnginePlan } from "../plan.ts"
import { newState, step } from "../scheduler.ts"
import type { EngineInput, EngineState, StepResult, TaskChange, TaskOutcome } from "../types.ts"
import { Checker } from "./invariants.ts"
import { SimStore } from "./sim-store.ts"

/** A plan for trying things out: ten targets, two at once, one failure tolerated, rolled back, not repeated. */
export const examplePlan: EnginePlan = {
  targetsCount: 10,
  width: 2,
  errorsMax: 1,
  attemptsMax: 1,
  retryDelayMilliseconds: 1000,
  rollbackOnFailure: true,
  startTimeoutMilliseconds: 5000,
  taskTimeoutMilliseconds: 60_000,
  rollbackTimeoutMilliseconds: 30_000,
  graceMilliseconds: 2000,
  countUnreachable: false,
}

/** One execution driven by hand, with its rows; every step is checked against the invariants of SPEC.md. */
export class EngineRun {
  readonly plan: EnginePlan
  readonly store: SimStore
  readonly #checker: Checker
  state: EngineState
  last: StepResult | undefined
  now = 0

  constructor(changes: Partial<EnginePlan> = {}) {
    this.plan = { ...examplePlan, ...changes }
    this.store = new SimStore(this.plan)
    this.#checker = new Checker({ plan: this.plan, store: this.store, nodes: [] })
    this.state = newState(this.plan, this.now)
  }

  /** Steps with these inputs at the present time. */
  step(...inputs: readonly EngineInput[]): StepResult {
    return this.take(step(this.state, inputs, this.now), inputs)
  }

  /** Lets time pass: a tick whenever the engine asked to be called, and one at the end. */
  wait(milliseconds: number): StepResult {
    const end = this.now + milliseconds
    for (let wakeAt = this.last?.wakeAt; wakeAt !== undefined && wakeAt < end; wakeAt = this.last?.wakeAt) {
      this.now = Math.max(this.now, wakeAt)
      this.step({ type: "tick" })
    }
    return this.jump(end - this.now)
  }

  /** Time passes without a call, as if the server stood still. */
  jump(milliseconds: number): StepResult {
    this.now += milliseconds
    return this.step({ type: "tick" })
  }

  /** Commits a result that was made elsewhere. */
  take(result: StepResult, inputs: readonly EngineInput[] = []): StepResult {
    this.#checker.commit({ inputs, result, recovering: false, now: this.now })
    this.state = result.state
    this.last = result
    return result
  }

  /** Reports the end of the attempt in flight of each of these tasks, in one step. */
  finish(state: TaskOutcome["state"], ...ordinals: readonly number[]): StepResult {
    return this.step(
      ...ordinals.map((ordinal): EngineInput => {
        const attempt = this.state.slots.get(ordinal)?.attempt ?? 1
        return { type: "task-finished", ordinal, attempt, outcome: { state } }
      }),
    )
  }

  rolledBack(...ordinals: readonly number[]): StepResult {
    return this.step(
      ...ordinals.map((ordinal): EngineInput => {
        const attempt = this.state.slots.get(ordinal)?.attempt ?? 1
        return { type: "rollback-finished", ordinal, attempt, outcome: "rolled-back" }
      }),
    )
  }

  row(ordinal: number): TaskChange | undefined {
    return this.store.tasks[ordinal]
  }

  /** The states of the tasks in order, for comparison at one glance. */
  states(): string {
    return this.store.tasks.map(({ state }) => state).join(" ")
  }

  commands(): readonly string[] {
    return (this.last?.commands ?? []).map((command) => {
      const reason = command.type === "kill" ? ` ${command.reason}` : ""
      return `${command.type} ${command.ordinal}/${command.attempt}${reason}`
    })
  }
}
