import type { Duplex } from "node:stream"
import type { RawData, WebSocket } from "ws"
import type { FrameChannel, FrameReceiver } from "./frame-channel.ts"
import { encodeTextMessages } from "./text-messages.ts"

const closeGraceMilliseconds = 2_000

/**
 * A session's frames over a WebSocket, one text message each. Owns the socket, and the texts of this turn of the event
 * loop, which leave together: they go past `ws`, which would write each in two pieces. Nothing is compressed or masked
 * in this direction, and all else that `ws` sends is sent at once, so the order is kept.
 */
export class SocketChannel implements FrameChannel {
  /** Those with texts that wait for the end of this turn. */
  static #waiting: SocketChannel[] = []

  readonly #socket: WebSocket
  readonly #stream: Duplex
  #texts: string[] = []
  #textsLength = 0

  constructor({ socket, stream }: { readonly socket: WebSocket; readonly stream: Duplex }) {
    this.#socket = socket
    this.#stream = stream
  }

  get unsentBytes(): number {
    return this.#socket.bufferedAmount + this.#textsLength
  }

  listen(receiver: FrameReceiver): void {
    this.#socket.on("message", (data, isBinary) => receiver.frame(toBuffer(data), isBinary))
    this.#socket.on("pong", () => receiver.alive())
    this.#socket.on("close", (code) => receiver.closed(`the connection was closed (${code})`))
    this.#socket.on("error", (error) => receiver.closed(`the connection failed: ${error.message}`))
  }

  send(text: string): void {
    this.#textsLength += text.length
    if (this.#texts.push(text) > 1) return
    if (SocketChannel.#waiting.push(this) === 1) process.nextTick(() => SocketChannel.#writeAll())
  }

  static #writeAll(): void {
    const channels = SocketChannel.#waiting
    SocketChannel.#waiting = []
    for (const channel of channels) channel.#write()
  }

  #write(): void {
    if (this.#texts.length === 0) return
    const texts = this.#texts
    this.#texts = []
    this.#textsLength = 0
    if (this.#socket.readyState === this.#socket.OPEN) this.#stream.write(encodeTextMessages(texts))
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
    this.#write()
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
