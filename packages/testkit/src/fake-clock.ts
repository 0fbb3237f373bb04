import type { Clock } from "@signalbox/kernel/clock"

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  #now: number

  constructor(now = Date.UTC(2030, 0, 1)) {
    this.#now = now
  }

  now(): number {
    return this.#now
  }

  advance(milliseconds: number): void {
    this.#now += milliseconds
  }

  set(now: number): void {
    this.#now = now
  }
}
