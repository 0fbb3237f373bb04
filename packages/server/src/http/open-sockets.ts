import type { Server, Socket } from "node:net"

/** What a client has to end its connection by itself, once the listener closes: to answer the close of a WebSocket. */
export const socketGraceMilliseconds = 2_000

/**
 * The connections of a listener. Owns none of them, but ends those that are left a moment after the listener closes: a
 * session whose agent doesn't answer, a client that never began its TLS. A server would wait half a minute for the one, and
 * two for the other.
 */
export class OpenSockets {
  readonly #sockets = new Set<Socket>()
  #timer: NodeJS.Timeout | undefined

  constructor(server: Server) {
    const sockets = this.#sockets
    const forget = function (this: Socket): void {
      sockets.delete(this)
    }
    server.on("connection", (socket: Socket) => sockets.add(socket.on("close", forget)))
    server.on("close", () => clearTimeout(this.#timer))
  }

  endSoon(): void {
    this.#timer ??= setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy()
    }, socketGraceMilliseconds)
  }
}
