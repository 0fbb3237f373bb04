/**
 * One execution in a world of virtual time: a store that commits atomically, a server that dies before or after a commit,
 * nodes that stall, vanish and lie, a network that loses, repeats and reorders, a clock that jumps, and people who
 * change their minds. All chance comes from one seed, so a run repeats exactly. Every commit goes through the checker.
 */
import { openCommands, recoverState, wishInputs } from "../recover.ts"
import { resolveErrorsMax, resolveWidth } from "../limits.ts"
import { checkPlan, type EnginePlan } from "../plan.ts"
import { newState, step } from "../scheduler.ts"
import type { EngineCommand, EngineInput, EngineState, StepResult } from "../types.ts"
import { EventQueue } from "./event-queue.ts"
import { Checker, expectThat, InvariantError } from "./invariants.ts"
import { drawScenario, type Scenario } from "./scenario.ts"
import { SeededRandom } from "./seeded-random.ts"
import { SimNode } from "./sim-node.ts"
import { isRowOpen, SimStore } from "./sim-store.ts"

/** The engine under test; faults are planted by giving another one. */
export interface Engine {
  readonly newState: typeof newState
  readonly step: typeof step
  readonly recoverState: typeof recoverState
  readonly resolveWidth: typeof resolveWidth
  readonly resolveErrorsMax: typeof resolveErrorsMax
}

export const realEngine: Engine = { newState, step, recoverState, resolveWidth, resolveErrorsMax }

export interface SimulationReport {
  readonly seed: number
  readonly scenario: Scenario
  readonly steps: number
  readonly crashes: number
  readonly execution: string
  readonly failure: { readonly invariant: string; readonly message: string } | undefined
  /** What happened, one line an event; empty unless asked for. */
  readonly trace: readonly string[]
}

const wallStart = 1_700_000_000_000
const eventsMax = 20_000
const housekeepingMilliseconds = 150
const tailMilliseconds = 400
/** Purity and recovery are compared in one step of so many: they cost as much as the rest together. */
const comparedEvery = 8

class Simulation {
  readonly #engine: Engine
  readonly #scenario: Scenario
  readonly #random: SeededRandom
  readonly #queue = new EventQueue<() => void>()
  readonly #plan: EnginePlan
  readonly #store: SimStore
  readonly #nodes: readonly SimNode[]
  readonly #checker: Checker
  readonly #trace: string[] | undefined
  #time = 0
  #clockOffset = 0
  #state: EngineState | undefined
  #inbox: Array<{ input: EngineInput; node: SimNode }> = []
  #stepIsDue = false
  #wakeNumber = 0
  #endedAt: number | undefined
  steps = 0
  crashes = 0

  constructor(options: { scenario: Scenario; engine: Engine; trace: string[] | undefined }) {
    const { scenario, engine } = options
    this.#scenario = scenario
    this.#engine = engine
    this.#trace = options.trace
    this.#random = new SeededRandom(scenario.seed + 0.5 * 0x1_0000_0000)
    const { targetsCount } = scenario
    this.#plan = {
      ...scenario.timing,
      targetsCount,
      width: engine.resolveWidth(scenario.widthLimit, targetsCount),
      errorsMax: engine.resolveErrorsMax(scenario.errorLimit, targetsCount),
    }
    this.#store = new SimStore(targetsCount)
    this.#nodes = scenario.nodes.map((behaviour, ordinal) => this.#newNode(ordinal, behaviour))
    this.#checker = new Checker({ plan: this.#plan, store: this.#store, nodes: this.#nodes })
  }

  get execution(): string {
    return this.#store.execution
  }

  run(): void {
    this.#log(() => `plan ${show(this.#plan)}`)
    this.#checkLimits()
    checkPlan(this.#plan)
    this.#state = this.#engine.newState(this.#plan, this.#wall())
    this.#at(0, () => this.#step([{ type: "planned" }]))
    for (const jump of this.#scenario.clockJumps) this.#at(jump.at, () => this.#jump(jump.milliseconds))
    for (const { at, wish } of this.#scenario.wishes) this.#at(at, () => this.#wish(wish))
    this.#at(this.#scenario.healAt, () => this.#wish("run"))
    this.#at(housekeepingMilliseconds, () => this.#keepHouse())
    const deadline = this.#deadline()
    for (let events = 0; ; events++) {
      const next = this.#queue.pop()
      if (!next || this.#time > (this.#endedAt ?? Infinity) + tailMilliseconds) break
      expectThat(next.at <= deadline && events < eventsMax, "I18", () => `still ${this.execution} at ${next.at} ms`)
      this.#time = next.at
      next.event()
    }
    expectThat(this.#endedAt !== undefined, "I18", () => `nothing happens any more, still ${this.execution}`)
    this.#checker.checkJournals()
  }

  /** A generous bound of the time that a run can take once the faults have ended: target after target, all timeouts. */
  #deadline(): number {
    const { targetsCount, attemptsMax, startTimeoutMilliseconds, taskTimeoutMilliseconds } = this.#plan
    const { retryDelayMilliseconds, rollbackTimeoutMilliseconds, graceMilliseconds } = this.#plan
    const attempt = startTimeoutMilliseconds + taskTimeoutMilliseconds + graceMilliseconds + retryDelayMilliseconds
    const target = attemptsMax * attempt + 2 * (rollbackTimeoutMilliseconds + graceMilliseconds)
    return this.#scenario.healAt + (targetsCount + 1) * (target + 2000)
  }

  #checkLimits(): void {
    const { widthLimit, errorLimit, targetsCount } = this.#scenario
    const { width, errorsMax } = this.#plan
    const most = (limit: number | string): number =>
      typeof limit === "number" ? limit : (Number.parseInt(limit, 10) * targetsCount) / 100
    expectThat(width >= 1 && width <= Math.max(1, most(widthLimit)), "I17", () => `width ${width} of ${widthLimit}`)
    expectThat(errorsMax <= most(errorLimit), "I17", () => `errorsMax ${errorsMax} of ${errorLimit} of ${targetsCount}`)
    expectThat(
      errorsMax > most(errorLimit) - 1,
      "I17",
      () => `errorsMax ${errorsMax} of ${errorLimit} of ${targetsCount}`,
    )
  }

  #at(time: number, event: () => void): void {
    this.#queue.push(time, event)
  }

  #log(line: () => string): void {
    this.#trace?.push(`${String(this.#time).padStart(6)} ${line()}`)
  }

  #wall(): number {
    return wallStart + this.#time + this.#clockOffset
  }

  #healed(): boolean {
    return this.#time >= this.#scenario.healAt
  }

  #jump(milliseconds: number): void {
    this.#log(() => `clock jumps by ${milliseconds} ms`)
    this.#clockOffset += milliseconds
    this.#stepSoon()
  }

  /** A wish is durable at once; an abort is not taken back. */
  #wish(wish: SimStore["wish"]): void {
    const aborts = this.#store.wish.startsWith("abort")
    if (aborts && wish !== "abort-kill") return
    this.#log(() => `a person wishes ${wish}`)
    this.#store.wish = wish
    this.#stepSoon()
  }

  #newNode(ordinal: number, behaviour: Scenario["nodes"][number]): SimNode {
    const node: SimNode = new SimNode({
      ordinal,
      behaviour,
      world: {
        random: this.#random,
        send: (report) => this.#carry(node, () => this.#arrive(report, node)),
        later: (delay, act) => this.#at(this.#time + delay, act),
      },
    })
    return node
  }

  #isAway({ behaviour: { away } }: SimNode): boolean {
    return away !== null && this.#time >= away.from && this.#time < away.to
  }

  /** Takes a message between a node and the server: it may be lost, repeated, and overtaken by others. */
  #carry(node: SimNode, deliver: () => void): void {
    const { loseChance, repeatChance, delayMillisecondsMax } = this.#scenario.network
    if (this.#isAway(node) || (!this.#healed() && this.#random.chance(loseChance))) return
    const copies = !this.#healed() && this.#random.chance(repeatChance) ? 2 : 1
    for (let i = 0; i < copies; i++) {
      this.#at(this.#time + this.#random.integer(0, delayMillisecondsMax), () => {
        if (!this.#isAway(node)) deliver()
      })
    }
  }

  #arrive(input: EngineInput, node: SimNode): void {
    if (!this.#state) return
    this.#inbox.push({ input, node })
    this.#stepSoon()
  }

  #stepSoon(): void {
    if (this.#stepIsDue) return
    this.#stepIsDue = true
    this.#at(this.#time + this.#random.integer(0, 3), () => {
      this.#stepIsDue = false
      this.#step([])
    })
  }

  /** Reconnections: unacknowledged reports and open commands are sent again, liars lie. */
  #keepHouse(): void {
    for (const node of this.#nodes) {
      node.sendAgain()
      if (node.behaviour.lies && this.#random.chance(0.5)) node.lie()
    }
    if (this.#state && this.#random.chance(0.4)) {
      const ordinals = [...this.#state.slots.values()].map(({ ordinal }) => ordinal)
      this.#send(openCommands(this.#state, ordinals))
    }
    if (this.#endedAt === undefined || this.#time < this.#endedAt + tailMilliseconds) {
      this.#at(this.#time + housekeepingMilliseconds, () => this.#keepHouse())
    }
  }

  #step(extra: readonly EngineInput[]): void {
    const state = this.#state
    if (!state) return
    const batch = this.#inbox.splice(0, this.#random.integer(1, 40))
    if (this.#inbox.length > 0) this.#stepSoon()
    // The stored wish comes last: what has happened, happened before it was read.
    const inputs = [...extra, ...batch.map(({ input }) => input), ...wishInputs(state, this.#store.wish)]
    const compare = this.steps % comparedEvery === 0
    const before = compare ? showState(state) : ""
    const result = this.#engine.step(state, inputs, this.#wall())
    this.steps += 1
    if (compare) {
      expectThat(showState(state) === before, "I13", () => "a step changed its input")
      const again = showState(this.#engine.step(state, inputs, this.#wall()).state)
      expectThat(again === showState(result.state), "I13", () => "the same step gave another result")
    }
    this.#log(
      () => `step ${show(inputs)} -> ${show(result.taskChanges)} ${show(result.execution)} ${show(result.commands)}`,
    )
    if (!this.#commit(result, { inputs, recovering: false })) return
    if (compare) this.#compareRecovery(result.state)
    for (const { input, node } of batch) this.#carry(node, () => node.acknowledge(input))
  }

  /** Commits and acts on a result, unless the server dies before or in between. */
  #commit(result: StepResult, about: { inputs: readonly EngineInput[]; recovering: boolean }): boolean {
    const dies = !this.#healed() && this.#random.chance(this.#scenario.crashChance)
    if (dies && this.#random.chance(0.5)) return this.#die("before the commit")
    this.#checker.commit({ ...about, result })
    if (this.#endedAt === undefined && ["succeeded", "incomplete", "failed", "aborted"].includes(this.execution)) {
      this.#endedAt = this.#time
    }
    if (dies) {
      if (result.neverStarted && this.#endedAt === undefined) this.#store.loseHalfOfRest()
      return this.#die("after the commit")
    }
    this.#state = result.state
    this.#send(result.commands)
    this.#wakeAt(result.wakeAt)
    return true
  }

  #wakeAt(wakeAt: number | undefined): void {
    const number = ++this.#wakeNumber
    if (wakeAt === undefined) return
    this.#at(this.#time + Math.max(0, wakeAt - this.#wall()), () => {
      if (number === this.#wakeNumber) this.#step([{ type: "tick" }])
    })
  }

  #die(when: string): false {
    this.#log(() => `the server dies ${when}`)
    this.crashes += 1
    this.#state = undefined
    this.#inbox = []
    this.#wakeNumber += 1
    this.#at(this.#time + this.#random.integer(5, 300), () => this.#recover())
    return false
  }

  #recover(): void {
    const result = this.#engine.recoverState(this.#plan, this.#store.rows(), this.#wall())
    this.#log(() => `recovered ${show(result.execution)} ${show(result.commands)}`)
    const recovered = this.#commit(result, { inputs: [], recovering: true })
    // A server that died while planning makes its plan again.
    if (recovered && this.execution === "planning") this.#step([{ type: "planned" }])
  }

  /** What a recovery would make of the rows now is what is in memory. */
  #compareRecovery(state: EngineState): void {
    if (this.#store.tasks.some((row) => isRowOpen(row) && row.state === "queued")) return
    const rows = {
      ...this.#store.rows(),
      wish: this.execution === "pausing" || this.execution === "paused" ? "pause" : "run",
    } as const
    const recovered = this.#engine.recoverState(this.#plan, rows, this.#wall()).state
    expectThat(
      showRows(recovered) === showRows(state),
      "I14",
      () => `${showRows(recovered)} recovered, ${showRows(state)} in memory`,
    )
  }

  #send(commands: readonly EngineCommand[]): void {
    for (const command of commands) {
      const node = this.#nodes[command.ordinal]
      if (node) this.#carry(node, () => node.receive(command))
    }
  }
}

const show = (value: unknown): string => JSON.stringify(value) ?? ""

function showState(state: EngineState): string {
  return show([{ ...state, slots: null }, [...state.slots.values()].toSorted((a, b) => a.ordinal - b.ordinal)])
}

/** The durable part of a state. */
function showRows({ execution, stop, nextOrdinal, counts, rollbacks, slots }: EngineState): string {
  const rows = [...slots.values()].toSorted((a, b) => a.ordinal - b.ordinal)
  const durable = rows.map(({ ordinal, state, rollback, attempt }) => [ordinal, state, rollback, attempt])
  return show([execution, stop, nextOrdinal, counts, rollbacks, durable])
}

function runOnce(seed: number, engine: Engine, trace: string[] | undefined): SimulationReport {
  const scenario = drawScenario(seed)
  const simulation = new Simulation({ scenario, engine, trace })
  let failure: SimulationReport["failure"]
  try {
    simulation.run()
  } catch (error) {
    const invariant = error instanceof InvariantError ? error.invariant : "threw"
    failure = { invariant, message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
  const { steps, crashes, execution } = simulation
  return { seed, scenario, steps, crashes, execution, failure, trace: trace ?? [] }
}

/**
 * Runs the scenario of a seed and checks the invariants of SPEC.md after every step. A run that fails is repeated with its
 * trace written down.
 *
 * @example simulate(42).failure // undefined
 */
export function simulate(seed: number, options: { engine?: Engine; trace?: boolean } = {}): SimulationReport {
  const engine = options.engine ?? realEngine
  const report = runOnce(seed, engine, options.trace ? [] : undefined)
  return report.failure && !options.trace ? runOnce(seed, engine, []) : report
}
