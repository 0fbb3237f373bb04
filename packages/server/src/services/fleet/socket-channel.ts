import type { RawData, WebSocket } from "ws"
import type { FrameChannel, FrameReceiver } from "./frame-channel.ts"

const closeGraceMilliseconds = 2_000

/** A session's frames over a WebSocket, one text message each. Owns the socket. */
export class SocketChannel implements FrameChannel {
  readonly #socket: WebSocket

  constructor(socket: WebSocket) {
    this.#socket = socket
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
