/**
 * The oracle of the simulator: looks at rows, commands and the nodes' journals, never into the scheduler. It knows the
 * promises of SPEC.md (I1 …) in its own words, so that a fault of the scheduler is not repeated here. One checker per run.
 */
import type { EnginePlan } from "../plan.ts"
import type { EngineCommand, EngineInput, StepResult, TaskChange } from "../types.ts"
import { expectThat } from "./invariant-error.ts"
import { PaceChecker } from "./pace-invariants.ts"
import type { SimNode } from "./sim-node.ts"
import { isRowOpen, type SimStore, type Tally } from "./sim-store.ts"

const ended = new Set(["succeeded", "failed", "aborted", "interrupted", "unreachable", "skipped", "never-started"])
const executionEnded = new Set(["succeeded", "incomplete", "failed", "aborted"])
const show = (value: unknown): string => JSON.stringify(value)

/** One commit as the checker sees it: `before` are copies of the rows that change. */
interface Commit {
  readonly inputs: readonly EngineInput[]
  readonly result: StepResult
  readonly recovering: boolean
  /** Wall-clock milliseconds of the step. */
  readonly now: number
}

export class Checker {
  readonly #plan: EnginePlan
  readonly #store: SimStore
  readonly #nodes: readonly SimNode[]
  readonly #killed = new Set<string>()
  readonly #pace: PaceChecker
  /** When the last recovery was, and of which tasks that it found it has heard nothing since. */
  #recovered = { time: -Infinity, unheard: new Set<number>() }
  #notEndedAtTrip = 0
  #tally: Tally
  #wall: number | undefined
  #time = 0

  constructor(options: { plan: EnginePlan; store: SimStore; nodes: readonly SimNode[] }) {
    this.#plan = options.plan
    this.#store = options.store
    this.#nodes = options.nodes
    this.#pace = new PaceChecker(options.plan, options.store)
    this.#tally = options.store.tally()
  }

  /** Called instead of `store.commit`: judges the change, commits it, judges the rows. */
  commit(commit: Commit): void {
    const { result, now } = commit
    const store = this.#store
    const { width, wave } = store
    const before = { tally: this.#tally, width, wave, held: store.hold !== null, stopped: store.stop !== null }
    // By the steps forward of the wall clock, as an honest engine may count them at most.
    this.#time += Math.max(0, now - (this.#wall ?? now))
    this.#wall = now
    if (commit.recovering) {
      this.#recovered = { time: this.#time, unheard: new Set(this.#tally.open.map(({ ordinal }) => ordinal)) }
    }
    for (const input of commit.inputs) if ("ordinal" in input) this.#recovered.unheard.delete(input.ordinal)
    this.#checkExecutionChange(result)
    const seen = new Set<number>()
    for (const change of result.taskChanges) {
      expectThat(!seen.has(change.ordinal), "I7", () => `two changes of task ${change.ordinal} in one step`)
      seen.add(change.ordinal)
      this.#checkChange(change, commit)
    }
    this.#checkNeverStarted(result)
    this.#checkFirstWord(commit)
    this.#checkIgnored(commit)
    if (store.stop === null && result.execution?.stop?.by === "error-limit") {
      this.#notEndedAtTrip = this.#tally.undecided
    }
    store.commit(result)
    const tally = store.tally()
    this.#tally = tally
    this.#checkCommands(commit)
    this.#checkRows(result)
    this.#pace.check({ before, tally, inputs: commit.inputs, result, recovering: commit.recovering, time: this.#time })
  }

  #checkExecutionChange({ execution }: StepResult): void {
    const { execution: before, stop } = this.#store
    if (!execution) return
    expectThat(!executionEnded.has(before), "I4", () => `execution ${before} became ${execution.state}`)
    expectThat(stop === null || execution.stop?.by === stop.by, "I4", () => "the reason of a stop was lost")
  }

  #checkChange(change: TaskChange, { result, inputs }: Commit): void {
    const { tasks, stop, execution } = this.#store
    const row = tasks[change.ordinal]
    expectThat(row !== undefined, "I6", () => `task ${change.ordinal} does not exist`)
    if (!row) return
    const what = (): string => `${show(row)} became ${show(change)}`
    if (ended.has(row.state)) {
      expectThat(row.state === change.state && row.attempt === change.attempt, "I4", what)
      expectThat(row.rollback === "pending" || row.rollback === "running", "I4", what)
    }
    if (change.attempt !== row.attempt) {
      expectThat(change.attempt === row.attempt + 1, "I5", what)
      expectThat(stop === null && !result.execution?.stop, "I3", what)
      const first = row.attempt === 0
      // In the step that asks for the pause nothing may start either, so the state after it is judged too.
      const paused = execution !== "running" && execution !== "planning" && result.execution?.state !== "running"
      expectThat(!(first && paused), "I8", what)
      if (first) expectThat(change.ordinal === 0 || this.#started(change.ordinal - 1, result), "I6", what)
      else this.#checkRetry(row, inputs)
    }
    const gaveUp = change.state !== row.state && (change.state === "unreachable" || change.state === "interrupted")
    const reported = inputs.some((input) => input.type === "task-finished" && input.ordinal === change.ordinal)
    if (gaveUp && !reported) {
      const killed = result.commands.some(({ type, ordinal }) => type === "kill" && ordinal === change.ordinal)
      expectThat(killed, "I15", what)
      const waited = this.#time - this.#recovered.time
      const isUnheard = change.state === "unreachable" || this.#recovered.unheard.has(change.ordinal)
      const isTooSoon = isUnheard && waited < (this.#plan.reconnectMilliseconds ?? 0)
      expectThat(!isTooSoon, "I19", () => `${what()} ${waited} ms after a recovery`)
    }
  }

  #started(ordinal: number, result: StepResult): boolean {
    const started = (this.#store.tasks[ordinal]?.attempt ?? 0) > 0
    return started || result.taskChanges.some((change) => change.ordinal === ordinal && change.attempt > 0)
  }

  /** Another attempt only after the one before has failed for certain, by the node's own journal. */
  #checkRetry(row: TaskChange, inputs: readonly EngineInput[]): void {
    const node = this.#nodes[row.ordinal]
    expectThat(row.attempt < this.#plan.attemptsMax, "I5", () => `too many attempts of ${show(row)}`)
    const failedNow = inputs.some(
      (input) => input.type === "task-finished" && input.ordinal === row.ordinal && input.outcome.state === "failed",
    )
    expectThat(row.state === "queued" || failedNow, "I5", () => `a retry of ${show(row)}`)
    if (!node || node.behaviour.lies) return
    const outcome = node.journal.get(row.attempt)?.outcome
    expectThat(outcome?.state === "failed" && outcome.class !== "refused", "I5", () => `a retry after ${show(outcome)}`)
  }

  #checkNeverStarted({ neverStarted, execution }: StepResult): void {
    if (!neverStarted) return
    const { tasks, stop } = this.#store
    expectThat(
      (execution?.stop ?? stop) !== null,
      "I3",
      () => "targets are never started though nothing stopped the run",
    )
    for (const row of tasks.slice(neverStarted.from, neverStarted.to)) {
      expectThat(row.attempt === 0, "I4", () => `${show(row)} became never-started`)
    }
    expectThat(neverStarted.to === tasks.length, "I3", () => `the rest ends at ${neverStarted.to}`)
  }

  /** The first definite word on an attempt in flight is what the row holds afterwards. */
  #checkFirstWord({ inputs, result, recovering }: Commit): void {
    const heard = new Set<number>()
    for (const input of inputs) {
      if (input.type !== "task-finished" || heard.has(input.ordinal)) continue
      const row = this.#store.tasks[input.ordinal]
      if (!row || row.attempt !== input.attempt || (row.state !== "starting" && row.state !== "running")) continue
      heard.add(input.ordinal)
      const { state } = input.outcome
      const change = result.taskChanges.find(({ ordinal }) => ordinal === input.ordinal)
      const retried = state === "failed" && (change?.state === "queued" || change?.attempt === row.attempt + 1)
      const kept = change?.state === state || retried
      expectThat(kept && !recovering, "I16", () => `${show(input)} made ${show(row)} ${show(change)}`)
    }
  }

  #checkIgnored({ inputs, result }: Commit): void {
    const ignored = new Set(result.ignored.map(({ input }) => input))
    for (const input of inputs) {
      if (!("ordinal" in input)) continue
      const row = this.#store.tasks[input.ordinal]
      if (row && (!ended.has(row.state) || isRowOpen(row) || row.state === "never-started")) continue
      expectThat(ignored.has(input), "I12", () => `${show(input)} was taken`)
      if (!row || (input.type !== "task-accepted" && input.type !== "task-started")) continue
      const told = result.commands.some((command) => command.type === "kill" && command.ordinal === input.ordinal)
      expectThat(told, "I15", () => `after ${show(input)} the node was not told that ${show(row)} has ended`)
    }
  }

  #checkCommands({ result, recovering }: Commit): void {
    const has = (type: EngineCommand["type"], { ordinal, attempt }: TaskChange): boolean =>
      result.commands.some((one) => one.type === type && one.ordinal === ordinal && one.attempt === attempt)
    for (const command of result.commands) {
      const row = this.#store.tasks[command.ordinal]
      if (command.type === "kill") this.#killed.add(`${command.ordinal} ${command.attempt}`)
      if (!row || command.type === "kill") continue
      expectThat(row.attempt === command.attempt && isRowOpen(row), "I14", () => `${show(command)} for ${show(row)}`)
    }
    for (const row of recovering ? this.#tally.open : result.taskChanges) {
      const where = (): string => `nothing was sent for ${show(row)}`
      const sent = row.state === "starting" || (recovering && row.state === "running")
      if (sent) expectThat(has(this.#store.stop?.mode === "kill" ? "kill" : "start", row), "I14", where)
      if (row.rollback === "pending") expectThat(has("rollback", row), "I10", where)
    }
    if (this.#store.stop?.mode !== "kill") return
    for (const row of this.#store.tasks) {
      if (row.state !== "starting" && row.state !== "running") continue
      expectThat(this.#killed.has(`${row.ordinal} ${row.attempt}`), "I9", () => `${show(row)} was not told to stop`)
    }
  }

  #checkRows({ state }: StepResult): void {
    const store = this.#store
    const { open } = this.#tally
    const slots = [...state.slots.values()]
    const same =
      slots.length === open.length &&
      open.every(({ ordinal, attempt, state: task, rollback }) => {
        const slot = state.slots.get(ordinal)
        return slot?.attempt === attempt && slot.state === task && slot.rollback === rollback
      })
    expectThat(same, "I1", () => `the slots are ${show(slots)}, the rows ${show(open)}`)
    this.#checkCounts(state.counts, this.#tally.tasks)
    this.#checkCounts(state.rollbacks, this.#tally.rollbacks)
    this.#checkCounts(state.classes, this.#tally.classes)
    this.#checkNodes()
    this.#checkErrorLimit()
    this.#checkExecution(open.length)
    if (executionEnded.has(store.execution)) this.#checkEnd()
  }

  #checkCounts<Name extends string>(
    told: Readonly<Record<Name, number>>,
    counts: Readonly<Record<Name, number>>,
  ): void {
    for (const name in counts) {
      expectThat(told[name] === counts[name], "I7", () => `${name} is counted ${told[name]}, there are ${counts[name]}`)
    }
  }

  #failures(): number {
    const counts = this.#tally.tasks
    const unreachable = this.#plan.countUnreachable ? counts.unreachable : 0
    return counts.failed + counts.interrupted + counts.aborted + unreachable
  }

  /** From the nodes' side: whoever works holds a slot, unless he was given up (his clock, not ours, then decides). */
  #checkNodes(): void {
    for (const { ordinal, journal, behaviour } of this.#nodes) {
      const row = this.#store.tasks[ordinal]
      if (!row || behaviour.lies || isRowOpen(row)) continue
      const givenUp = row.state === "unreachable" || row.class === "timeout" || row.rollback === "unknown"
      if (givenUp) continue
      for (const [attempt, { outcome, rollback }] of journal) {
        const works = outcome === undefined || rollback === "running"
        expectThat(!works, "I1", () => `node ${ordinal} still works on attempt ${attempt} of ${show(row)}`)
      }
    }
  }

  #checkErrorLimit(): void {
    const { stop } = this.#store
    const failures = this.#failures()
    const { errorsMax } = this.#plan
    const what = (): string => `${failures} failures, ${errorsMax} tolerated, stop ${show(stop)}`
    if (stop === null) expectThat(failures <= errorsMax, "I2", what)
    else if (stop.by === "error-limit") {
      expectThat(stop.failures === errorsMax + 1 && failures > errorsMax, "I2", what)
      expectThat(failures <= errorsMax + this.#notEndedAtTrip, "I2", what)
    }
  }

  #checkExecution(openCount: number): void {
    const { execution, wish, stop } = this.#store
    if (execution === "paused") expectThat(openCount === 0, "I8", () => `paused with ${openCount} in flight`)
    if (execution === "running" || execution === "paused" || execution === "pausing") {
      expectThat(stop === null, "I3", () => `${execution} though it was stopped`)
    }
    if (wish !== "abort-finish" && wish !== "abort-kill") return
    const stopped = execution === "aborting" || executionEnded.has(execution)
    expectThat(stopped, "I9", () => `${execution} after ${wish}`)
    if (wish === "abort-kill" && execution === "aborting") {
      expectThat(stop?.mode === "kill", "I9", () => `${show(stop)} after ${wish}`)
    }
  }

  #checkEnd(): void {
    const { execution, stop, tasks } = this.#store
    for (const row of tasks) {
      expectThat(ended.has(row.state) && !isRowOpen(row), "I11", () => `${execution} with ${show(row)}`)
      this.#checkRollback(row)
    }
    const well = tasks.every(({ state }) => state === "succeeded" || state === "skipped")
    const undisturbed = well ? "succeeded" : "incomplete"
    const expected = stop === null ? undisturbed : stop.by === "person" ? "aborted" : "failed"
    expectThat(execution === expected, "I11", () => `${execution}, expected ${expected}`)
  }

  #checkRollback(row: TaskChange): void {
    const what = (): string => `${show(row)} at the end`
    const { state, rollback, attempt } = row
    if (!this.#plan.rollbackOnFailure || state === "succeeded" || state === "skipped" || state === "never-started") {
      expectThat(rollback === "none", "I10", what)
      return
    }
    const untouched = attempt === 1 && (state === "unreachable" || row.class === "refused")
    expectThat(untouched || rollback !== "none", "I10", what)
    // A liar may have reported a start before.
    const lies = this.#nodes[row.ordinal]?.behaviour.lies ?? true
    expectThat(!untouched || lies || rollback === "none", "I10", what)
  }

  /** Whether this node has begun what is told as not done, without having been told to go back. */
  isLeftChanged({ ordinal, journal, behaviour }: SimNode): boolean {
    const row = this.#store.tasks[ordinal]
    if (!row || behaviour.lies || !this.#plan.rollbackOnFailure || row.rollback !== "none") return false
    if (!ended.has(row.state) || row.state === "succeeded" || row.state === "skipped") return false
    const entry = journal.get(row.attempt)
    return entry !== undefined && entry.runs > 0 && entry.rollback === "none"
  }

  /** At the very end: what the nodes themselves have on record. Those that never came back can't have been told. */
  checkJournals(isAway: (node: SimNode) => boolean): void {
    for (const node of this.#nodes) {
      const row = (): string => show(this.#store.tasks[node.ordinal])
      expectThat(isAway(node) || !this.isLeftChanged(node), "I29", () => `node ${node.ordinal} is changed, ${row()}`)
    }
    for (const { ordinal, journal } of this.#nodes) {
      for (const [attempt, entry] of journal) {
        expectThat(entry.runs <= 1, "I5", () => `node ${ordinal} ran attempt ${attempt} ${entry.runs} times`)
        const sent = this.#store.tasks[ordinal]?.attempt ?? 0
        expectThat(attempt <= sent || entry.runs === 0, "I5", () => `node ${ordinal} ran attempt ${attempt} of ${sent}`)
      }
    }
  }
}
