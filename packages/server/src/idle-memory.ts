/**
 * Gives back to the machine what a flood has left behind (4,000 agents that connect: 113 MB of 481), which the engine
 * keeps where little is allocated. Owns a timer. A collection stops the process, so there is one only while it has little to
 * do, only where the heap has grown since the last, and ever more seldom where it grows again each time: with objects that
 * are just not there the engine forgets the machine code made for them, and the next thousands of calls pay for it.
 */
import { performance } from "node:perf_hooks"
import { getHeapStatistics, setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

const lookMilliseconds = 10_000
/** Of the time; ten thousand agents that only beat take 0.16 of it. On a machine that others fill, little work takes long. */
const busyShareMax = 0.4
const quietLooksMin = 2
const growthBytesMin = 24 * 1024 * 1024
/** Between two collections; doubled by each, until there was none for twice the longest time. */
const restMilliseconds = { min: 20_000, max: 3_600_000 }

interface MemoryProbe {
  readonly heapBytes: () => number
  /** That this thread has had something to do, ever. */
  readonly busyMilliseconds: () => number
  readonly collect: () => void
}

export class IdleMemory {
  readonly #probe: MemoryProbe
  #timer: NodeJS.Timeout | undefined
  #busyMilliseconds = 0
  #quietLooks = 0
  #leftBytes = 0
  #restMilliseconds = 0
  #sinceCollectionMilliseconds = 0

  constructor(probe: MemoryProbe = ownProcess) {
    this.#probe = probe
  }

  start(): void {
    this.#busyMilliseconds = this.#probe.busyMilliseconds()
    this.#timer = setInterval(() => this.look(lookMilliseconds), lookMilliseconds)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Collects where it is time to. `sinceMilliseconds`: since the last look. */
  look(sinceMilliseconds: number): void {
    const busy = this.#probe.busyMilliseconds()
    const share = (busy - this.#busyMilliseconds) / sinceMilliseconds
    this.#busyMilliseconds = busy
    this.#quietLooks = share < busyShareMax ? this.#quietLooks + 1 : 0
    this.#sinceCollectionMilliseconds += sinceMilliseconds
    const heapBytes = this.#probe.heapBytes()
    // Some of what a collection frees is given back only seconds after it.
    this.#leftBytes = Math.min(this.#leftBytes, heapBytes)
    if (this.#quietLooks < quietLooksMin || heapBytes < this.#leftBytes + growthBytesMin) return
    if (this.#sinceCollectionMilliseconds < this.#restMilliseconds) return
    this.#probe.collect()
    this.#leftBytes = this.#probe.heapBytes()
    this.#quietLooks = 0
    this.#rest()
  }

  #rest(): void {
    const { min, max } = restMilliseconds
    const isSeldom = this.#sinceCollectionMilliseconds >= 2 * max
    this.#restMilliseconds = isSeldom ? min : Math.min(max, Math.max(min, this.#restMilliseconds * 2))
    this.#sinceCollectionMilliseconds = 0
  }
}

type Collect = (options: { type: "major"; execution: "sync"; flavor: "regular" }) => void

let collector: Collect | undefined

const ownProcess: MemoryProbe = {
  heapBytes: () => getHeapStatistics().total_heap_size,
  busyMilliseconds: () => performance.eventLoopUtilization().active,
  collect() {
    try {
      if (!collector) {
        setFlagsFromString("--expose-gc")
        collector = runInNewContext("gc") as Collect
      }
      // The thorough flavor stops everything for ten times as long, and leaves no less within seconds.
      collector({ type: "major", execution: "sync", flavor: "regular" })
    } catch {
      return // An engine without this switch: the server only is larger.
    }
  },
}
