import type { AttemptPhase } from "@signalbox/contracts/fleet/agent-protocol"
import type { StopReason } from "./task-runner.ts"

export interface LaneItem {
  readonly key: string
  readonly phase: AttemptPhase
  /** True: runs alone among its like. */
  readonly exclusive: boolean
  /** It waits for its turn for so long at most. */
  readonly waitMilliseconds?: number
}

export interface LaneOptions {
  readonly besideMax: number
  /** Never rejects. */
  readonly run: (item: LaneItem, stop: AbortSignal) => Promise<void>
  /** An item that waited for too long and will not run; `busyWith` is what ran instead. */
  readonly onWaitedInVain: (item: LaneItem, busyWith: string) => void
}

interface Waiting extends LaneItem {
  readonly timer: NodeJS.Timeout | undefined
}

interface Running extends LaneItem {
  readonly stop: AbortController
  readonly ended: Promise<void>
}

const timerMillisecondsMax = 2 ** 31 - 1

/**
 * Owns what waits and what runs on the node. Only the executor calls it. Invariants: of exclusive items one runs at a time;
 * beside it at most `besideMax` others; of one attempt one phase; rollbacks go before tasks, and each in its sequence.
 */
export class AttemptLanes {
  readonly #options: LaneOptions
  #waiting: Waiting[] = []
  readonly #running = new Set<Running>()
  #stopped = false

  constructor(options: LaneOptions) {
    this.#options = options
  }

  get waitingCount(): number {
    return this.#waiting.length
  }

  /** True where it would begin as soon as it is added. */
  hasRoomFor(item: Pick<LaneItem, "key" | "exclusive">): boolean {
    return this.#waiting.length === 0 && !this.#stopped && this.#mayRun(item)
  }

  isRunning(key: string, phase: AttemptPhase): boolean {
    return this.#findRunning(key, phase) !== undefined
  }

  add(item: LaneItem): void {
    if (this.#stopped) return
    const at = item.phase === "rollback" ? this.#waiting.findIndex(({ phase }) => phase === "task") : -1
    this.#waiting.splice(at === -1 ? this.#waiting.length : at, 0, { ...item, timer: this.#watch(item) })
    this.#runNext()
  }

  /** Takes back what waits. */
  remove(key: string, phase: AttemptPhase): void {
    const [found] = this.#waiting.filter((item) => item.key === key && item.phase === phase)
    if (!found) return
    clearTimeout(found.timer)
    this.#waiting = this.#waiting.filter((item) => item !== found)
  }

  /** False where it doesn't run. */
  abort(key: string, phase: AttemptPhase, reason: StopReason): boolean {
    const running = this.#findRunning(key, phase)
    running?.stop.abort(reason)
    return running !== undefined
  }

  /** Ends what runs, and starts nothing more. */
  async stop(reason: StopReason): Promise<void> {
    this.#stopped = true
    for (const { timer } of this.#waiting) clearTimeout(timer)
    this.#waiting = []
    const running = [...this.#running]
    for (const { stop } of running) stop.abort(reason)
    await Promise.all(running.map(({ ended }) => ended))
  }

  #findRunning(key: string, phase: AttemptPhase): Running | undefined {
    return [...this.#running].find((item) => item.key === key && item.phase === phase)
  }

  #watch(item: LaneItem): NodeJS.Timeout | undefined {
    if (item.waitMilliseconds === undefined) return undefined
    const milliseconds = Math.min(Math.max(0, item.waitMilliseconds), timerMillisecondsMax)
    return setTimeout(() => {
      const busyWith = [...this.#running].find(({ exclusive }) => exclusive === item.exclusive)?.key ?? "other tasks"
      this.remove(item.key, item.phase)
      this.#options.onWaitedInVain(item, busyWith)
    }, milliseconds)
  }

  #runNext(): void {
    for (const item of [...this.#waiting]) {
      if (!this.#mayRun(item)) continue
      this.remove(item.key, item.phase)
      const stop = new AbortController()
      const { promise, resolve } = Promise.withResolvers<void>()
      const running: Running = { ...item, stop, ended: promise }
      this.#running.add(running)
      void this.#options.run(item, stop.signal).finally(() => {
        this.#running.delete(running)
        resolve()
        this.#runNext()
      })
    }
  }

  #mayRun(item: Pick<LaneItem, "key" | "exclusive">): boolean {
    let beside = 0
    for (const running of this.#running) {
      if (running.key === item.key || (item.exclusive && running.exclusive)) return false
      if (!running.exclusive) beside++
    }
    return item.exclusive || beside < this.#options.besideMax
  }
}
