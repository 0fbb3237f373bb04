import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { demoPlan } from "./demo-plan.ts"
import type { FleetNode } from "./fleet-node.ts"
import type { Prober } from "./prober.ts"

/**
 * What a user's own monitoring would be: one URL that says whether the service as a whole is well, by what the prober
 * sees from outside. Remembers each time that it was asked; times are those of `performance.now()`.
 */
export class FleetHealth {
  readonly answers: Array<{ readonly at: number; readonly isWell: boolean }> = []
  readonly #server: Server
  #address = ""

  constructor(prober: Prober, nodes: readonly FleetNode[]) {
    this.#server = createServer((_, response) => {
      const up = nodes.filter(({ name }) => prober.answer(name).version !== undefined).length
      const isWell = up >= demoPlan.nodesCount - demoPlan.concurrency
      this.answers.push({ at: performance.now(), isWell })
      response.writeHead(isWell ? 200 : 503).end(`${up} of ${nodes.length} answer\n`)
    })
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject).listen(0, "127.0.0.1", resolve)
    })
    this.#address = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get address(): string {
    return this.#address
  }

  stop(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}
