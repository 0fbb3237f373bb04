import { once } from "node:events"
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net"

/** Where agents dial while servers come and go: passes connections on to one server, and cuts them to go to another. */
export class SwitchingRelay {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #port = 0

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(): Promise<SwitchingRelay> {
    const server = createServer()
    const relay = new SwitchingRelay(server)
    server.on("connection", (near) => relay.#join(near))
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    return relay
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** From now on to this port of this machine; what was open ends. */
  switchTo(port: number): void {
    this.#port = port
    for (const socket of this.#sockets) socket.destroy()
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, "close")
  }

  #join(near: Socket): void {
    const far = connect(this.#port, "127.0.0.1")
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
  }
}
