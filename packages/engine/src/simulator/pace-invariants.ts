/**
 * The second half of the oracle: what may start when, and what stops a run (I20 to I28), judged from rows before and after a
 * commit. Like `invariants.ts` it never looks into the scheduler and says each rule in its own words.
 */
import type { EnginePlan } from "../plan.ts"
import type { EngineInput, FailureClass, StepResult } from "../types.ts"
import { expectThat } from "./invariant-error.ts"
import type { SimStore, Tally } from "./sim-store.ts"

/** The rows before the commit, as far as they are compared. */
export interface Before {
  readonly tally: Tally
  readonly width: number
  readonly wave: number
  readonly held: boolean
  readonly stopped: boolean
}

export interface Paced {
  readonly before: Before
  readonly tally: Tally
  readonly inputs: readonly EngineInput[]
  readonly result: StepResult
  readonly recovering: boolean
  /** Time that has passed by the wall clock's steps forward, in milliseconds. */
  readonly time: number
}

const kinds: Readonly<Record<string, readonly FailureClass[]>> = {
  failed: ["command", "system", "refused", "denied", "unapproved"],
  timeout: ["timeout"],
  unreachable: ["unreachable"],
  interrupted: ["interrupted"],
}

const show = (value: unknown): string => JSON.stringify(value)

export class PaceChecker {
  readonly #plan: EnginePlan
  readonly #store: SimStore
  /** When the wave that ends here was over, by its end. */
  readonly #waveOverAt = new Map<number, number>()
  /** Since when a task waits for its next attempt. */
  readonly #waitsSince = new Map<number, number>()

  constructor(plan: EnginePlan, store: SimStore) {
    this.#plan = plan
    this.#store = store
  }

  check(paced: Paced): void {
    this.#checkStarts(paced)
    this.#checkBounds(paced)
    this.#checkSettings(paced)
    this.#checkRetries(paced)
    this.#checkCriteria(paced)
    this.#checkStop(paced)
  }

  #checkStarts({ before, tally, inputs, time, recovering }: Paced): void {
    const { ramp, waves = [], bakeMilliseconds = 0 } = this.#plan
    const store = this.#store
    const [from, to] = [before.tally.nextOrdinal, tally.nextOrdinal]
    if (to > from) {
      const inFlight = tally.open.length
      expectThat(
        inFlight <= store.width,
        "I25",
        () => `${inFlight} in flight after a start, the width is ${store.width}`,
      )
      expectThat(store.hold === null, "I26", () => `${from} was started while held: ${show(store.hold)}`)
      const released =
        inputs.some(({ type }) => type === "release-starts") || (recovering && store.settings.hold === null)
      expectThat(!before.held || released, "I26", () => `${from} was started though nothing ended the hold`)
      const grown = 1 + tally.tasks.succeeded
      expectThat(!ramp || inFlight <= grown, "I20", () => `${inFlight} in flight with ${grown - 1} succeeded`)
    }
    for (const end of waves) {
      if (end >= to) break
      const over = this.#waveOverAt.get(end)
      const first = tally.open[0]?.ordinal ?? end
      expectThat(first >= end, "I21", () => `${to - 1} was started while ${first} of an earlier wave is in flight`)
      const waited = time - (over ?? time)
      const baked = waited >= bakeMilliseconds
      expectThat(baked || end < from, "I21", () => `wave to ${end} baked ${waited} ms of ${bakeMilliseconds}`)
    }
    const wave = 1 + waves.filter((end) => end < to).length
    expectThat(
      store.wave === wave,
      "I21",
      () => `wave ${store.wave} on record, ${to} targets were started of ${show(waves)}`,
    )
    const isEnd = waves.includes(to) && tally.open.length === 0
    if (isEnd && !this.#waveOverAt.has(to)) this.#waveOverAt.set(to, time)
  }

  /** What holds after every commit, whatever was started. */
  #checkBounds({ before, tally }: Paced): void {
    const { unavailableMax, strict, errorsMax, domains, domainWidth = 1 } = this.#plan
    const inFlight = tally.open.length
    const most = Math.max(this.#store.width, before.tally.open.length)
    expectThat(inFlight <= most, "I1", () => `${inFlight} slots are held, the width is ${this.#store.width}`)
    const unavailable = inFlight + tally.lost
    const few = unavailableMax === undefined || unavailable <= unavailableMax
    expectThat(few, "I22", () => `${unavailable} are unavailable, at most ${unavailableMax} may be`)
    const mayFail = tally.undecided + this.#failures(tally)
    expectThat(
      !strict || mayFail <= errorsMax + 1,
      "I23",
      () => `${mayFail} failed or in flight, ${errorsMax} tolerated`,
    )
    if (!domains) return
    const busy = new Map<number, number>()
    for (const { ordinal } of tally.open) {
      const domain = domains[ordinal] ?? -1
      if (domain < 0) continue
      const count = (busy.get(domain) ?? 0) + 1
      busy.set(domain, count)
      expectThat(count <= domainWidth, "I24", () => `${count} of domain ${domain} are in flight`)
    }
  }

  /** What is on record is what is in memory, and changes only by an input. */
  #checkSettings({ before, inputs, result, recovering }: Paced): void {
    const { width, wave, hold, bakeUntil } = this.#store
    const { state } = result
    const same = state.width === width && state.wave === wave && show(state.hold) === show(hold)
    expectThat(
      same,
      "I25",
      () => `${show([state.width, state.wave, state.hold])} kept, ${show([width, wave, hold])} stored`,
    )
    expectThat(
      (state.bakeUntil === null) === (bakeUntil === null),
      "I21",
      () => `a bake until ${bakeUntil} is on record`,
    )
    const ignored = new Set(result.ignored.map(({ input }) => input))
    const wanted = inputs.findLast((input) => input.type === "set-width" && !ignored.has(input))
    const expected = wanted?.type === "set-width" ? wanted.width : before.width
    const taken = recovering && width === this.#store.settings.width
    expectThat(width === expected || taken, "I25", () => `the width is ${width}, wanted was ${expected}`)
  }

  #checkRetries({ result, time }: Paced): void {
    const { retryDelayMilliseconds, retryBackoffFactor = 1, retryJitterThousandths = 0 } = this.#plan
    for (const { ordinal, state, attempt } of result.taskChanges) {
      const since = this.#waitsSince.get(ordinal)
      if (state === "queued" && attempt > 0) this.#waitsSince.set(ordinal, time)
      else this.#waitsSince.delete(ordinal)
      if (attempt === 1 || state !== "starting") continue
      const grown = retryDelayMilliseconds * retryBackoffFactor ** (attempt - 2)
      const delay = Math.min(grown, this.#plan.retryDelayMillisecondsMax ?? grown)
      const least = Math.floor(delay * (1 - retryJitterThousandths / 1000))
      const waited = time - (since ?? time)
      expectThat(
        waited >= least,
        "I28",
        () => `attempt ${attempt} of ${ordinal} came ${waited} ms after the one before`,
      )
    }
  }

  #failures({ tasks }: Tally): number {
    const unreachable = this.#plan.countUnreachable ? tasks.unreachable : 0
    return tasks.failed + tasks.interrupted + tasks.aborted + unreachable
  }

  /** The share of failures among the completed, once there are enough; else 0. */
  #rate(tally: Tally): number {
    const failures = this.#failures(tally)
    const completed = failures + tally.tasks.succeeded
    return completed < (this.#plan.errorRate?.sampleMin ?? Infinity) ? 0 : failures / completed
  }

  #isConditionMet(tally: Tally): boolean {
    const { tasks, rollbacks, classes } = tally
    const { command, system, refused, denied, unapproved } = classes
    try {
      const seen = {
        failed: command + system + refused + denied + unapproved,
        timedOut: classes.timeout,
        interrupted: classes.interrupted,
      }
      const backs = { rolledBack: rollbacks["rolled-back"], rollbackFailed: rollbacks["rollback-failed"] }
      const counts = { ...seen, ...backs, unreachable: classes.unreachable, succeeded: tasks.succeeded }
      return this.#plan.stopWhen?.test({ ...noStopCounts, ...counts, failures: this.#failures(tally) }) ?? false
    } catch {
      return true
    }
  }

  /** A run that goes on has no reason to stop. */
  #checkCriteria({ tally }: Paced): void {
    const { execution, stop } = this.#store
    if (stop !== null || execution === "planning") return
    for (const [kind, classes] of Object.entries(kinds)) {
      const max = this.#plan.errorsMaxByClass?.[kind as "failed"]
      const count = classes.reduce((sum, name) => sum + tally.classes[name], 0)
      expectThat(max === undefined || count <= max, "I27", () => `${count} ${kind}, ${max} tolerated, and no stop`)
    }
    const rate = this.#rate(tally)
    const rateMax = (this.#plan.errorRate?.thousandths ?? 0) / 100_000
    expectThat(
      rate === 0 || rate <= rateMax + 1e-9,
      "I27",
      () => `a rate of ${rate}, ${rateMax} tolerated, and no stop`,
    )
    expectThat(!this.#isConditionMet(tally), "I27", () => `${this.#plan.stopWhen?.text} holds, and no stop`)
    const stuck =
      execution === "running" && tally.open.length === 0 && tally.lost >= (this.#plan.unavailableMax ?? Infinity)
    expectThat(!stuck, "I27", () => `${tally.lost} are unavailable for good, and no stop`)
  }

  /** A stop has a reason, and the reason is so. */
  #checkStop({ before, tally, inputs }: Paced): void {
    const { stop } = this.#store
    if (stop === null || before.stopped) return
    const what = (): string => `${show(stop)} with ${show(tally.tasks)} and ${show(tally.classes)}`
    const mode = this.#plan.stopMode ?? "finish"
    expectThat(stop.by === "person" || stop.mode === mode || stop.mode === "kill", "I27", what)
    if (stop.by === "class-limit") {
      const count = (kinds[stop.group] ?? []).reduce((sum, name) => sum + tally.classes[name], 0)
      const max = this.#plan.errorsMaxByClass?.[stop.group]
      expectThat(max === stop.errorsMax && stop.failures === max + 1 && count >= stop.failures, "I27", what)
    } else if (stop.by === "error-rate") {
      const { thousandths = 0, sampleMin = 0 } = this.#plan.errorRate ?? {}
      const rate = stop.failures / stop.completed
      const justified = rate > thousandths / 100_000 && stop.completed >= sampleMin
      expectThat(justified && stop.failures <= this.#failures(tally), "I27", what)
    } else if (stop.by === "expression") {
      expectThat(this.#isConditionMet(tally), "I27", what)
    } else if (stop.by === "health") {
      expectThat(
        inputs.some((input) => input.type === "health" && !input.ok),
        "I27",
        what,
      )
    } else if (stop.by === "unavailable-limit") {
      expectThat(tally.lost >= stop.unavailableMax && tally.open.length === 0, "I27", what)
    }
  }
}

/** What drawn conditions are never about. */
const noStopCounts = {
  total: 0,
  started: 0,
  inFlight: 0,
  ended: 0,
  completed: 0,
  skipped: 0,
  aborted: 0,
  unavailable: 0,
  notReversible: 0,
  rollbackUnknown: 0,
  wave: 0,
}
