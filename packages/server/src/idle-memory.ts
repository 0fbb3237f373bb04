/**
 * Gives back to the machine what a flood has left behind (4,000 agents that connect: 113 MB of 481), which the engine
 * keeps where little is allocated. Owns a timer. A collection stops the process for 140 ms with those agents, so there is
 * one only while it has little to do, and only where the heap has grown since the last.
 */
import { getHeapStatistics, setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

const lookMilliseconds = 10_000
/** Of a core; ten thousand agents that only beat take 0.16 of one. */
const busyShareMax = 0.4
const quietLooksMin = 2
const growthBytesMin = 24 * 1024 * 1024

interface MemoryProbe {
  readonly heapBytes: () => number
  /** That the process has used, ever. */
  readonly processorMicroseconds: () => number
  readonly collect: () => void
}

export class IdleMemory {
  readonly #probe: MemoryProbe
  #timer: NodeJS.Timeout | undefined
  #usedMicroseconds = 0
  #quietLooks = 0
  #leftBytes = 0

  constructor(probe: MemoryProbe = ownProcess) {
    this.#probe = probe
  }

  start(): void {
    this.#usedMicroseconds = this.#probe.processorMicroseconds()
    this.#timer = setInterval(() => this.look(lookMilliseconds), lookMilliseconds)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Collects where it is time to. `sinceMilliseconds`: since the last look. */
  look(sinceMilliseconds: number): void {
    const used = this.#probe.processorMicroseconds()
    const share = (used - this.#usedMicroseconds) / (sinceMilliseconds * 1000)
    this.#usedMicroseconds = used
    this.#quietLooks = share < busyShareMax ? this.#quietLooks + 1 : 0
    if (this.#quietLooks < quietLooksMin || this.#probe.heapBytes() < this.#leftBytes + growthBytesMin) return
    this.#probe.collect()
    this.#leftBytes = this.#probe.heapBytes()
    this.#quietLooks = 0
  }
}

type Collect = (options: { type: "major"; execution: "sync"; flavor: "last-resort" }) => void

let collector: Collect | undefined

const ownProcess: MemoryProbe = {
  heapBytes: () => getHeapStatistics().total_heap_size,
  processorMicroseconds() {
    const { user, system } = process.cpuUsage()
    return user + system
  },
  collect() {
    try {
      if (!collector) {
        setFlagsFromString("--expose-gc")
        collector = runInNewContext("gc") as Collect
      }
      collector({ type: "major", execution: "sync", flavor: "last-resort" })
    } catch {
      return // An engine without this switch: the server only is larger.
    }
  },
}
