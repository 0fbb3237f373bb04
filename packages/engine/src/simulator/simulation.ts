/**
 * One execution in a world of virtual time: a store that commits atomically, a server that dies before or after a commit,
 * nodes that stall, vanish and lie, a network that loses, repeats and reorders, a clock that jumps, and people who
 * change their minds. All chance comes from one seed, so a run repeats exactly. Every commit goes through the checker.
 */
import { openCommands, settingInputs, wishInputs } from "../recover.ts"
import { wallTimeOf } from "../engine-clock.ts"
import { checkPlan, type EnginePlan } from "../plan.ts"
import type { EngineCommand, EngineInput, EngineState, RunSettings, StopCause } from "../types.ts"
import { show, showDurable, showState } from "./compare-recovery.ts"
import { realEngine, type Engine } from "./engine-under-test.ts"
import { EventQueue } from "./event-queue.ts"
import { isToGoBack } from "./given-up.ts"
import { expectThat, InvariantError } from "./invariant-error.ts"
import { Checker } from "./invariants.ts"
import { deadlineOf, lastFaultAt } from "./run-bounds.ts"
import { drawScenario, type Scenario } from "./scenario.ts"
import { checkLimits, planOf } from "./scenario-plan.ts"
import { SeededRandom } from "./seeded-random.ts"
import { SimNode } from "./sim-node.ts"
import { SimStore } from "./sim-store.ts"
import type { SimulationReport } from "./simulation-report.ts"
import type { StoreCall, StoreWrite } from "./store-call.ts"

export interface SimulationOptions {
  /** The engine under test; absent is the real one. */
  readonly engine?: Engine
  readonly trace?: boolean
  /** Only width and error limit: no ramp, waves, domains, holds and the like. */
  readonly plain?: boolean
  /** Told each call of the store. The rest of a stopped run is then always written at once. */
  readonly onStoreCall?: (call: StoreCall) => void
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
  #inbox: Array<{ input: EngineInput; node: SimNode | undefined }> = []
  #stepIsDue = false
  #wakeNumber = 0
  #endedAt: number | undefined
  #stalledUntil = 0
  /** When each node has found the server again after its last change. */
  readonly #backAt = new Map<SimNode, number>()
  readonly #onStoreCall: SimulationOptions["onStoreCall"]
  steps = 0
  crashes = 0

  constructor(options: {
    scenario: Scenario
    engine: Engine
    trace: string[] | undefined
    onStoreCall: SimulationOptions["onStoreCall"]
  }) {
    const { scenario, engine } = options
    this.#onStoreCall = options.onStoreCall
    this.#scenario = scenario
    this.#engine = engine
    this.#trace = options.trace
    this.#random = new SeededRandom(scenario.seed + 0.5 * 0x1_0000_0000)
    this.#plan = planOf(scenario, engine)
    this.#store = new SimStore(this.#plan)
    this.#nodes = scenario.nodes.map((behaviour, ordinal) => this.#newNode(ordinal, behaviour))
    this.#checker = new Checker({ plan: this.#plan, store: this.#store, nodes: this.#nodes })
  }

  get execution(): string {
    return this.#store.execution
  }

  get stopBy(): StopCause["by"] | undefined {
    return this.#store.stop?.by
  }

  get plan(): EnginePlan {
    return this.#plan
  }

  run(): void {
    this.#log(() => `plan ${show(this.#plan)}`)
    checkLimits(this.#scenario, this.#plan)
    checkPlan(this.#plan)
    this.#state = this.#engine.newState(this.#plan, this.#wall())
    this.#at(0, () => this.#step([{ type: "planned" }]))
    for (const jump of this.#scenario.clockJumps) this.#at(jump.at, () => this.#jump(jump.milliseconds))
    for (const { at, wish } of this.#scenario.wishes) this.#at(at, () => this.#wish(wish))
    this.#schedulePace()
    this.#at(this.#scenario.healAt, () => this.#wish("run"))
    this.#at(housekeepingMilliseconds, () => this.#keepHouse())
    const deadline = deadlineOf(this.#plan, this.#scenario)
    for (let events = 0; ; events++) {
      const next = this.#queue.pop()
      if (!next || this.#isOver()) break
      expectThat(next.at <= deadline && events < eventsMax, "I18", () => `still ${this.execution} at ${next.at} ms`)
      this.#time = next.at
      next.event()
    }
    expectThat(this.#endedAt !== undefined, "I18", () => `nothing happens any more, still ${this.execution}`)
    this.#checker.checkJournals((node) => this.#isAway(node))
  }

  /** The run has ended some time ago, and whoever was given up and has come back has been told; loss ends with the faults. */
  #isOver(): boolean {
    const ended = this.#endedAt
    if (ended === undefined || this.#time <= ended + tailMilliseconds) return false
    const last = Math.max(ended, lastFaultAt(this.#scenario)) + 2 * tailMilliseconds
    return this.#time > last || !this.#nodes.some((node) => this.#checker.isLeftChanged(node))
  }

  #schedulePace(): void {
    const { pace, healAt } = this.#scenario
    for (const { at, ...settings } of pace.settings) this.#at(at, () => this.#settle(settings))
    this.#at(healAt, () => this.#settle({ hold: null }))
    for (const { at, ok } of pace.health) this.#at(at, () => this.#hear({ type: "health", ok, message: `at ${at}` }))
    for (const { at, milliseconds } of pace.stalls) {
      this.#at(at, () => (this.#stalledUntil = Math.max(this.#stalledUntil, at + milliseconds)))
    }
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

  /** A wanted width or hold is durable at once, too. */
  #settle(settings: Partial<RunSettings>): void {
    this.#log(() => `wanted is ${show(settings)}`)
    this.#store.settings = { ...this.#store.settings, ...settings }
    this.#stepSoon()
  }

  #newNode(ordinal: number, behaviour: Scenario["nodes"][number]): SimNode {
    const node: SimNode = new SimNode({
      ordinal,
      behaviour,
      world: {
        random: this.#random,
        send: (report) => this.#carry(node, () => this.#hear(report, node)),
        later: (delay, act) => this.#at(this.#time + delay, act),
      },
    })
    return node
  }

  #isAway(node: SimNode): boolean {
    const { away } = node.behaviour
    const gone = away !== null && this.#time >= away.from && this.#time < away.to
    return gone || this.#time < (this.#backAt.get(node) ?? 0)
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

  /** What reaches a server that is not there is lost; nodes send it again. */
  #hear(input: EngineInput, node?: SimNode): void {
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
    if (!this.#isOver()) this.#at(this.#time + housekeepingMilliseconds, () => this.#keepHouse())
  }

  #step(extra: readonly EngineInput[]): void {
    const state = this.#state
    if (!state) return
    if (this.#time < this.#stalledUntil) return this.#at(this.#stalledUntil, () => this.#step(extra))
    const batch = this.#inbox.splice(0, this.#random.integer(1, 40))
    if (this.#inbox.length > 0) this.#stepSoon()
    // The stored wish comes last: what has happened, happened before it was read.
    const wished = [...settingInputs(state, this.#store.settings), ...wishInputs(state, this.#store.wish)]
    const inputs = [...extra, ...batch.map(({ input }) => input), ...wished]
    const compare = this.steps % comparedEvery === 0
    const before = compare ? showState(state) : ""
    const now = this.#wall()
    const result = this.#engine.step(state, inputs, now)
    this.steps += 1
    if (compare) {
      expectThat(showState(state) === before, "I13", () => "a step changed its input")
      const again = showState(this.#engine.step(state, inputs, now).state)
      expectThat(again === showState(result.state), "I13", () => "the same step gave another result")
    }
    this.#log(
      () => `step ${show(inputs)} -> ${show(result.taskChanges)} ${show(result.execution)} ${show(result.commands)}`,
    )
    if (!this.#commit({ before: state, inputs, result, now }, false)) return
    if (compare) this.#compareRecovery(result.state)
    for (const { input } of batch) this.#followUp(input)
    for (const { input, node } of batch) {
      // Sent again until the node has gone back, whatever gets lost meanwhile.
      if (node && !isToGoBack(input, this.#plan, this.#store)) this.#carry(node, () => node.acknowledge(input))
    }
  }

  #followUp(input: EngineInput): void {
    if (!isToGoBack(input, this.#plan, this.#store)) return
    const { ordinal, attempt } = input
    const isAtWork = input.type !== "task-finished"
    if (isAtWork) this.#send([{ type: "kill", ordinal, attempt, reason: "unreachable" }])
    this.#send([{ type: "rollback", ordinal, attempt }])
  }

  /** Commits and acts on a result, unless the server dies at one of the points before, between and after. */
  #commit(write: StoreWrite, recovering: boolean): boolean {
    const { result, inputs, now } = write
    const dies = !this.#healed() && this.#random.chance(this.#scenario.crashChance)
    const point = dies ? this.#random.pick(["before", "before", "unsent", "among", "sent"] as const) : undefined
    if (point === "before") {
      this.#onStoreCall?.({ kind: "lost", ...write })
      return this.#die("before the commit")
    }
    this.#onStoreCall?.({ kind: "commit", ...write })
    this.#checker.commit({ inputs, recovering, now, result })
    if (this.#endedAt === undefined && ["succeeded", "incomplete", "failed", "aborted"].includes(this.execution)) {
      this.#endedAt = this.#time
    }
    const partly = dies && result.neverStarted && this.#endedAt === undefined && !this.#onStoreCall
    if (partly) this.#store.loseHalfOfRest()
    if (point === "unsent") return this.#die("after the commit")
    if (point === "among") this.#send(result.commands.slice(0, this.#random.integer(0, result.commands.length)))
    else this.#send(result.commands)
    if (dies) return this.#die(point === "among" ? "while it sent" : "before it acknowledged")
    this.#state = result.state
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
    const [rows, now] = [this.#store.rows(), this.#wall()]
    this.#onStoreCall?.({ kind: "recover", rows, now })
    const result = this.#engine.recoverState(this.#plan, rows, now)
    this.#letNodesFindIt()
    this.#log(() => `recovered ${show(result.execution)} ${show(result.commands)}`)
    const recovered = this.#commit({ before: undefined, inputs: [], result, now }, true)
    // A server that died while planning makes its plan again.
    if (recovered && this.execution === "planning") this.#step([{ type: "planned" }])
  }

  /** Each node needs a while to find the new owner, and is then told what it has to do. */
  #letNodesFindIt(): void {
    const { reconnectMilliseconds = 0 } = this.#plan
    if (reconnectMilliseconds === 0) return
    for (const node of this.#nodes) {
      const backAt = this.#time + this.#random.integer(0, reconnectMilliseconds)
      this.#backAt.set(node, backAt)
      this.#at(backAt, () => {
        node.sendAgain()
        if (this.#state) this.#send(openCommands(this.#state, [node.ordinal]))
      })
    }
  }

  /** What a recovery would make of the rows now is what is in memory. */
  #compareRecovery(state: EngineState): void {
    const stored = this.#store.rows()
    if (stored.openTasks.some((row) => row.state === "queued")) return
    const { width, hold } = this.#store
    const rows = {
      ...stored,
      settings: { width, hold },
      // A wall clock that was set since changes when a bake ends; that is no difference here.
      bakeUntil: state.bakeUntil === null ? null : wallTimeOf(state.clock, state.bakeUntil),
      wish: this.execution === "pausing" || this.execution === "paused" ? "pause" : "run",
    } as const
    const recovered = this.#engine.recoverState(this.#plan, rows, this.#wall()).state
    expectThat(
      showDurable(recovered) === showDurable(state),
      "I14",
      () => `${showDurable(recovered)} recovered, ${showDurable(state)} in memory`,
    )
  }

  #send(commands: readonly EngineCommand[]): void {
    for (const command of commands) {
      const node = this.#nodes[command.ordinal]
      if (node) this.#carry(node, () => node.receive(command))
    }
  }
}

function runOnce(seed: number, options: SimulationOptions): SimulationReport {
  const { engine = realEngine, onStoreCall } = options
  const trace = options.trace ? [] : undefined
  const scenario = drawScenario(seed, options)
  const simulation = new Simulation({ scenario, engine, trace, onStoreCall })
  let failure: SimulationReport["failure"]
  try {
    simulation.run()
  } catch (error) {
    const invariant = error instanceof InvariantError ? error.invariant : "threw"
    failure = { invariant, message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
  const { steps, crashes, execution, plan, stopBy } = simulation
  return { seed, scenario, plan, steps, crashes, execution, stopBy, failure, trace: trace ?? [] }
}

/**
 * Runs the scenario of a seed and checks the invariants of SPEC.md after every step. A run that fails is repeated with its
 * trace written down.
 *
 * @example simulate(42).failure // undefined
 */
export function simulate(seed: number, options: SimulationOptions = {}): SimulationReport {
  const report = runOnce(seed, options)
  return report.failure && !options.trace && !options.onStoreCall ? runOnce(seed, { ...options, trace: true }) : report
}
