import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

type Collect = (options: { type: "major"; execution: "sync"; flavor: "last-resort" }) => void

let collect: Collect | undefined

/**
 * Gives back to the machine what loading, a task or an inventory has left behind (8 MB of 78 after start): an idle
 * process would keep it for ever, since nothing makes it collect. Takes about 20 ms.
 */
export function giveBackMemory(): void {
  try {
    if (!collect) {
      setFlagsFromString("--expose-gc")
      collect = runInNewContext("gc") as Collect
    }
    collect({ type: "major", execution: "sync", flavor: "last-resort" })
  } catch {
    return // An engine without this switch: the agent only is a little larger.
  }
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
