import type { Duplex } from "node:stream"
import type { RawData, WebSocket } from "ws"
import type { FrameChannel, FrameReceiver } from "./frame-channel.ts"

const closeGraceMilliseconds = 2_000

/** A session's frames over a WebSocket, one text message each. Owns the socket. */
export class SocketChannel implements FrameChannel {
  readonly #socket: WebSocket
  readonly #stream: Duplex
  #gathering = false

  constructor({ socket, stream }: { readonly socket: WebSocket; readonly stream: Duplex }) {
    this.#socket = socket
    this.#stream = stream
  }

  get unsentBytes(): number {
    return this.#socket.bufferedAmount
  }

  listen(receiver: FrameReceiver): void {
    this.#socket.on("message", (data, isBinary) => receiver.frame(toBuffer(data), isBinary))
    this.#socket.on("pong", () => receiver.alive())
    this.#socket.on("close", (code) => receiver.closed(`the connection was closed (${code})`))
    this.#socket.on("error", (error) => receiver.closed(`the connection failed: ${error.message}`))
  }

  send(text: string): void {
    this.#socket.send(text)
  }

  gather(): void {
    if (this.#gathering) return
    this.#gathering = true
    this.#stream.cork()
    process.nextTick(() => {
      this.#gathering = false
      this.#stream.uncork()
    })
  }

  ping(): void {
    this.#socket.ping()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason)
    const grace = setTimeout(() => this.#socket.terminate(), closeGraceMilliseconds)
    this.#socket.once("close", () => clearTimeout(grace))
  }

  terminate(): void {
    this.#socket.terminate()
  }
}

function toBuffer(data: RawData): Buffer {
  if (Array.isArray(data)) return Buffer.concat(data)
  return Buffer.isBuffer(data) ? data : Buffer.from(data)
}
