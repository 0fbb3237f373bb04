import type { AgentFrame } from "@signalbox/contracts/fleet/agent-protocol"

/**
 * Holds back that a task has begun: its end says so too, and of most tasks that is the next thing to say. Owns the
 * reports that wait; whatever else is said of such a task goes behind its start.
 */
export class StartReports {
  readonly #send: (frame: AgentFrame) => boolean
  readonly #holdMilliseconds: number
  readonly #held = new Map<string, { readonly frame: AgentFrame; readonly timer: NodeJS.Timeout }>()

  constructor(send: (frame: AgentFrame) => boolean, holdMilliseconds: number) {
    this.#send = send
    this.#holdMilliseconds = holdMilliseconds
  }

  /** As the session's own: false where none is open. */
  readonly send = (frame: AgentFrame): boolean => {
    if (frame.type === "started" && frame.phase === "task") return this.#hold(frame)
    if (this.#held.size > 0 && "key" in frame) {
      if (frame.type === "task-finished") this.#take(frame.key)
      else this.#release(frame.key)
    }
    return this.#send(frame)
  }

  #hold(frame: Extract<AgentFrame, { type: "started" }>): true {
    this.#take(frame.key)
    const timer = setTimeout(() => this.#release(frame.key), this.#holdMilliseconds).unref()
    this.#held.set(frame.key, { frame, timer })
    return true
  }

  #release(key: string): void {
    const frame = this.#take(key)
    if (frame) this.#send(frame)
  }

  #take(key: string): AgentFrame | undefined {
    const held = this.#held.get(key)
    clearTimeout(held?.timer)
    this.#held.delete(key)
    return held?.frame
  }
}
