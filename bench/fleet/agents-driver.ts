/** A process of simulated agents, from outside. */
import { fork, type ChildProcess } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { AgentsCall } from "./agents-process.ts"
import type { Tally } from "./simulated-agent.ts"

export class AgentsDriver {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  #calls = 0

  constructor() {
    this.#child = fork(fileURLToPath(new URL("agents-process.ts", import.meta.url)), { stdio: "inherit" })
    this.#child.on("message", (reply: { id: number; value?: unknown; error?: string }) => {
      const waiting = this.#waiting.get(reply.id)
      this.#waiting.delete(reply.id)
      if (reply.error === undefined) waiting?.resolve(reply.value)
      else waiting?.reject(new Error(reply.error))
    })
    this.#child.on("exit", (status) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`simulated agents ended with ${status}`))
    })
  }

  get processId(): number {
    return this.#child.pid ?? 0
  }

  do(call: Exclude<AgentsCall, { do: "tally" }>): Promise<void> {
    return this.#call(call) as Promise<void>
  }

  /** The tally until now; `answers` and `reset` are for what comes after. */
  tally(next: Omit<Extract<AgentsCall, { do: "tally" }>, "do"> = {}): Promise<Tally> {
    return this.#call({ do: "tally", ...next }) as Promise<Tally>
  }

  stop(): void {
    if (this.#child.connected) this.#child.disconnect()
  }

  #call(call: AgentsCall): Promise<unknown> {
    const id = ++this.#calls
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, call })
    })
  }
}
