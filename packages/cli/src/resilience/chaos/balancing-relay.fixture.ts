import { once } from "node:events"
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net"

/** What a balancer is to agents: passes each connection on to the next server in turn, and past those that don't answer. */
export class BalancingRelay {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #ports: readonly number[] = []
  #turn = 0

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(): Promise<BalancingRelay> {
    const server = createServer()
    const relay = new BalancingRelay(server)
    server.on("connection", (near) => relay.#pass(near, relay.#ports.length))
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    return relay
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** From now on new connections go to these ports of this machine in turn. */
  spreadOver(ports: readonly number[]): void {
    this.#ports = ports
  }

  /** Ends what is open: everybody comes back, and to another server perhaps. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async stop(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, "close")
  }

  #pass(near: Socket, left: number): void {
    near.on("error", () => undefined)
    const port = this.#ports[this.#turn++ % Math.max(1, this.#ports.length)]
    if (port === undefined || left === 0) return void near.destroy()
    const far = connect(port, "127.0.0.1")
    const next = (): void => this.#pass(near, left - 1)
    far.once("error", next)
    far.once("connect", () => {
      far.off("error", next)
      this.#join(near, far)
    })
  }

  #join(near: Socket, far: Socket): void {
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from)
      from.pipe(to)
      from.on("error", () => to.destroy())
      from.once("close", () => {
        this.#sockets.delete(from)
        to.destroy()
      })
    }
    if (near.destroyed) far.destroy()
  }
}
