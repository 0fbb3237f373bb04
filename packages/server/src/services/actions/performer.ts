/**
 * Performs runs that are due. Owns the list of calls under way in this server and the timer by which it looks; all else is
 * in the runs' rows, so any number of servers may look at once. A claim is a lease: what a server that died had claimed is
 * claimed by the next look after that, and called under the same key.
 */
import { setTimeout as delay } from "node:timers/promises"
import { appendEvents } from "../../storage/outbox.ts"
import { performingLimits } from "./action-limits.ts"
import { lookAfterHeld, type HeldRun } from "./held-runs.ts"
import type { ActionsOptions } from "./options.ts"
import { performRun } from "./perform-run.ts"
import { claimRuns, isAnyDue, type Claims, type RunsUnderWay } from "./run-claims.ts"
import { runEvent } from "./run-events.ts"
import { RunRecorder } from "./run-recorder.ts"
import type { RunRow } from "./run-store.ts"

const scanMillisecondsDefault = 1_000
const looksMax = 100

export class ActionPerformer {
  readonly #options: ActionsOptions
  readonly #recorder: RunRecorder
  readonly #calls = new Set<Promise<void>>()
  readonly #underWay = new Map<string, RunsUnderWay>()
  #timer: NodeJS.Timeout | undefined
  #looking: Promise<void> | undefined
  #isWoken = false

  constructor(options: ActionsOptions) {
    this.#options = options
    this.#recorder = new RunRecorder(options)
  }

  start(): void {
    this.#timer = setInterval(() => this.wake(), this.#options.scanMilliseconds ?? scanMillisecondsDefault)
    this.wake()
  }

  /** Claims nothing any more, and gives the calls under way a time to end; others would make them again. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    await this.#looking
    const deadline = delay(performingLimits.stopMilliseconds, undefined, { ref: false })
    await Promise.race([Promise.all(this.#calls), deadline])
  }

  /** To be called when something may be due: after the commit of a run, or when a rule has room again. */
  wake(): void {
    if (this.#timer === undefined) return
    this.#isWoken = true
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
      if (this.#isWoken) this.wake()
    })
  }

  async #look(): Promise<void> {
    try {
      for (let look = 0; look < looksMax && this.#isWoken && this.#timer !== undefined; look++) {
        this.#isWoken = false
        await this.#lookOnce()
      }
    } catch (error) {
      this.#isWoken = false
      this.#options.logger.warn({ reason: String(error) }, "looking for due actions failed; it is tried again")
    }
  }

  async #lookOnce(): Promise<void> {
    const { database, clock } = this.#options
    const room = performingLimits.runsMax - this.#calls.size
    if (room <= 0 || !(await isAnyDue(database, clock.now()))) return
    const first = await this.#claim("oldest", room)
    const isBusy = first.runs.length === 0 && first.isWindowFull
    const { runs } = isBusy ? await this.#claim("of-each-rule", room) : first
    for (const run of runs) this.#call(run)
    // There may be more than one look takes in.
    if (runs.length > 0) this.#isWoken = true
  }

  /** The first claim of a run tells that it has started, in the same transaction. */
  #claim(by: Parameters<typeof claimRuns>[1], limit: number): Promise<Claims> {
    const { database, clock } = this.#options
    return database.transaction(async (tx) => {
      const claims = await claimRuns(tx, by, {
        now: clock.now(),
        milliseconds: performingLimits.claimMilliseconds,
        limit,
        ruleRunsMax: performingLimits.ruleRunsMax,
        underWay: [...this.#underWay.values()],
        windowMax: performingLimits.windowMax,
      })
      const begun = claims.runs.filter(({ attempts }) => attempts === 1)
      await appendEvents(
        tx,
        begun.map((run) => runEvent(this.#options, run)),
      )
      return claims
    })
  }

  #call(run: RunRow): void {
    const free = this.#occupy(run)
    const calling = this.#perform(run).finally(() => {
      free()
      this.#calls.delete(calling)
      this.wake()
    })
    this.#calls.add(calling)
  }

  async #perform(claimed: RunRow): Promise<void> {
    const began = this.#options.clock.now()
    const result = await performRun(this.#options, claimed)
    await this.#recorder.record({ claimed, result, began })
    // An approval may have been given before the run was known to wait for it.
    if (result.kind === "held") await this.#settle({ ...claimed, requestId: result.requestId })
  }

  async #settle(held: HeldRun): Promise<void> {
    try {
      await lookAfterHeld(this.#options, held)
    } catch (error) {
      this.#options.logger.warn({ request: held.requestId, reason: String(error) }, "a held action is asked for later")
    }
  }

  #occupy({ account, rule }: RunRow): () => void {
    const key = JSON.stringify([account, rule])
    const count = (change: number): number => (this.#underWay.get(key)?.count ?? 0) + change
    this.#underWay.set(key, { account, rule, count: count(1) })
    return () => {
      if (count(-1) > 0) this.#underWay.set(key, { account, rule, count: count(-1) })
      else this.#underWay.delete(key)
    }
  }
}
