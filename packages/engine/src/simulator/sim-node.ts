/**
 * A simulated node with its agent. It keeps the agents' promises: an attempt is in the journal before it runs and never runs
 * twice, a repeat is answered from the journal, a kill of an unknown attempt bars it, a rollback stops what still
 * runs, and final reports are sent until they are acknowledged. A lying node keeps its journal and lies in its reports.
 */
import type { EngineCommand, EngineInput, RollbackOutcome, TaskOutcome } from "../types.ts"
import type { NodeBehaviour } from "./scenario.ts"
import type { SeededRandom } from "./seeded-random.ts"

export interface JournalEntry {
  /** How often the attempt's command was really run: 0 where it was refused or barred. */
  runs: number
  outcome: TaskOutcome | undefined
  rollback: "none" | "running" | RollbackOutcome
}

/** What a node can do to its world. */
export interface NodeWorld {
  readonly random: SeededRandom
  send(report: EngineInput): void
  later(delayMilliseconds: number, act: () => void): void
}

export class SimNode {
  readonly ordinal: number
  readonly behaviour: NodeBehaviour
  readonly journal = new Map<number, JournalEntry>()
  readonly #world: NodeWorld
  readonly #unacknowledged = new Map<string, EngineInput>()

  constructor(options: { ordinal: number; behaviour: NodeBehaviour; world: NodeWorld }) {
    this.ordinal = options.ordinal
    this.behaviour = options.behaviour
    this.#world = options.world
  }

  receive(command: EngineCommand): void {
    if (command.type === "start") this.#start(command.attempt)
    else if (command.type === "kill") this.#kill(command.attempt)
    else this.#rollBack(command.attempt)
  }

  /** Whoever has the end of a rollback needs no word on what it put back. */
  acknowledge(report: EngineInput): void {
    this.#unacknowledged.delete(keyOf(report))
    if (report.type === "rollback-finished") this.#unacknowledged.delete(`task-finished ${report.attempt}`)
  }

  /** Sends all that was not acknowledged once more and tells what is under way, as after each reconnection. */
  sendAgain(): void {
    for (const report of this.#unacknowledged.values()) this.#world.send(report)
    const { ordinal } = this
    for (const [attempt, { outcome, rollback }] of this.journal) {
      if (outcome === undefined) this.#world.send({ type: "task-started", ordinal, attempt })
      if (rollback === "running") this.#world.send({ type: "rollback-started", ordinal, attempt })
    }
  }

  /** A report that is not so. */
  lie(): void {
    const { random } = this.#world
    const ordinal = random.chance(0.6) ? this.ordinal : random.pick([-1, 1_000_000, 0.5, Number.NaN])
    const attempt = random.integer(-1, 4)
    const state = random.pick(["succeeded", "failed", "interrupted", "aborted", "skipped", "unreachable"] as const)
    const outcome = random.pick(["rolled-back", "rollback-failed", "not-reversible", "unknown"] as const)
    this.#world.send(
      random.pick<EngineInput>([
        { type: "task-accepted", ordinal, attempt },
        { type: "task-started", ordinal, attempt },
        { type: "task-finished", ordinal, attempt, outcome: { state } },
        { type: "rollback-started", ordinal, attempt },
        { type: "rollback-finished", ordinal, attempt, outcome },
      ]),
    )
  }

  #report(report: EngineInput): void {
    if (report.type === "task-finished" || report.type === "rollback-finished") {
      this.#unacknowledged.set(keyOf(report), report)
    }
    this.#world.send(report)
  }

  #start(attempt: number): void {
    const { ordinal } = this
    const known = this.journal.get(attempt)
    if (known?.outcome) return this.#report({ type: "task-finished", ordinal, attempt, outcome: known.outcome })
    if (known) return this.#report({ type: "task-started", ordinal, attempt })
    const plan = this.behaviour.attempts[Math.min(attempt, this.behaviour.attempts.length) - 1] ?? "succeed"
    const entry: JournalEntry = { runs: plan === "refuse" ? 0 : 1, outcome: undefined, rollback: "none" }
    this.journal.set(attempt, entry)
    if (plan === "refuse") return this.#finish(attempt, { state: "failed", class: "refused" })
    this.#report({ type: "task-accepted", ordinal, attempt })
    this.#report({ type: "task-started", ordinal, attempt })
    if (plan === "stall") return
    const outcomes = { succeed: "succeeded", fail: "failed", skip: "skipped", crash: "interrupted" } as const
    this.#world.later(this.behaviour.durationMilliseconds, () => this.#finish(attempt, { state: outcomes[plan] }))
  }

  #finish(attempt: number, outcome: TaskOutcome): void {
    const entry = this.journal.get(attempt)
    if (!entry || entry.outcome) return
    entry.outcome = outcome
    this.#report({ type: "task-finished", ordinal: this.ordinal, attempt, outcome })
  }

  #kill(attempt: number): void {
    const entry = this.journal.get(attempt)
    if (!entry) this.journal.set(attempt, { runs: 0, outcome: undefined, rollback: "none" })
    if (!entry?.outcome) return this.#finish(attempt, { state: "aborted" })
    this.#report({ type: "task-finished", ordinal: this.ordinal, attempt, outcome: entry.outcome })
  }

  #rollBack(attempt: number): void {
    const { ordinal } = this
    const entry = this.journal.get(attempt) ?? { runs: 0, outcome: { state: "aborted" }, rollback: "none" }
    this.journal.set(attempt, entry)
    entry.outcome ??= { state: "aborted" }
    if (entry.rollback === "running") return this.#report({ type: "rollback-started", ordinal, attempt })
    if (entry.rollback !== "none") {
      return this.#report({ type: "rollback-finished", ordinal, attempt, outcome: entry.rollback })
    }
    entry.rollback = "running"
    this.#report({ type: "rollback-started", ordinal, attempt })
    const { rollback } = this.behaviour
    if (rollback === "stall") return
    this.#world.later(this.behaviour.durationMilliseconds, () => {
      entry.rollback = rollback
      this.#report({ type: "rollback-finished", ordinal, attempt, outcome: rollback })
    })
  }
}

function keyOf(report: EngineInput): string {
  return "ordinal" in report ? `${report.type} ${report.attempt}` : report.type
}
