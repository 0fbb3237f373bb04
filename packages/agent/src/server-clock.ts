import { uptime } from "node:os"
import type { Clock } from "@signalbox/kernel/clock"

/**
 * Milliseconds since this machine started, the time that it slept included. Nobody sets it as the time of day is set, so
 * it measures what has passed; in steps of 10 ms.
 */
export function machineUptime(): number {
  return uptime() * 1000
}

/**
 * The server's time of day: what it said last, and what has passed since. Setting this machine's clock (a machine without
 * a battery does so soon after each start) changes nothing. This machine's own time until the server has said one.
 */
export class ServerClock implements Clock {
  readonly #own: Clock
  readonly #uptime: () => number
  #said: { readonly time: number; readonly at: number } | undefined

  constructor(own: Clock, uptimeMilliseconds: () => number) {
    this.#own = own
    this.#uptime = uptimeMilliseconds
  }

  now(): number {
    return this.#said ? this.#said.time + (this.#uptime() - this.#said.at) : this.#own.now()
  }

  /** @param time milliseconds of the server's clock */
  set(time: number): void {
    this.#said = { time, at: this.#uptime() }
  }
}
