import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

type Collect = (options: { type: "major" | "minor"; execution: "sync"; flavor?: "last-resort" }) => void

let collector: Collect | undefined

function collect(options: Parameters<Collect>[0]): void {
  try {
    if (!collector) {
      setFlagsFromString("--expose-gc")
      collector = runInNewContext("gc") as Collect
    }
    collector(options)
  } catch {
    return // An engine without this switch: the agent only is larger.
  }
}

/**
 * Gives back to the machine what loading, a task or an inventory has left behind (8 MB of 78 after start): an idle
 * process would keep it for ever, since nothing makes it collect. Takes about 20 ms.
 */
export function giveBackMemory(): void {
  collect({ type: "major", execution: "sync", flavor: "last-resort" })
}

/**
 * Frees buffers that were read and dropped, in about a millisecond. The engine sees only their small handles, lets 80 MB
 * of them gather, and the C library never gives those back.
 */
export function freeReadBuffers(): void {
  collect({ type: "minor", execution: "sync" })
}

/** Calls a function once nothing has restarted it for a while. */
export class IdleTimer {
  readonly #milliseconds: number
  readonly #work: () => void
  #timer: NodeJS.Timeout | undefined

  constructor(milliseconds: number, work: () => void) {
    this.#milliseconds = milliseconds
    this.#work = work
  }

  restart(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(this.#work, this.#milliseconds)
    this.#timer.unref()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}
