/**
 * The client's side of a WebSocket (RFC 6455), as little of it as a load generator needs: what ten thousand agents cost
 * on their own machines must not be taken from the server that is measured. Texts of one fragment, no extension. All
 * sockets of a process read into one buffer, and each text leaves in one piece.
 */
import { createHash, randomBytes } from "node:crypto"
import { connect as connectPlain, type OnReadOpts, type Socket } from "node:net"
import { connect as connectTls, type SecureContext } from "node:tls"

const opcodes = { text: 1, close: 8, ping: 9, pong: 10 } as const
const keySuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
const readBuffer = Buffer.allocUnsafe(64 * 1024)
const mask = randomBytes(4)
const masks = [mask[0] ?? 0, mask[1] ?? 0, mask[2] ?? 0, mask[3] ?? 0] as const

export interface LeanSocketOptions {
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  /** Of TLS. */
  readonly secureContext: SecureContext | undefined
  readonly onOpen: () => void
  readonly onText: (text: string) => void
  /** Any sign of life but texts. */
  readonly onAlive: () => void
  readonly onClose: () => void
  readonly onError: (error: Error) => void
}

export class LeanSocket {
  readonly #options: LeanSocketOptions
  readonly #socket: Socket
  readonly #key = randomBytes(16).toString("base64")
  #isOpen = false
  /** The beginning of a frame, or of the answer to the upgrade, whose end has not come yet. */
  #rest: Buffer | undefined

  constructor(options: LeanSocketOptions) {
    this.#options = options
    const { secureContext, url } = options
    const onread: OnReadOpts = {
      buffer: readBuffer,
      callback: (length) => {
        this.#read(readBuffer.subarray(0, length))
        return true
      },
    }
    const place = { host: url.hostname, port: Number(url.port), onread, noDelay: true }
    this.#socket = secureContext
      ? connectTls({ ...place, secureContext, servername: "localhost" }, () => this.#upgrade())
      : connectPlain(place, () => this.#upgrade())
    this.#socket.on("error", options.onError)
    this.#socket.on("close", options.onClose)
  }

  send(text: string): void {
    this.#socket.write(encode(opcodes.text, Buffer.from(text)))
  }

  /** A text and a ping, in one piece. */
  sendWithPing(text: string): void {
    this.#socket.write(Buffer.concat([encode(opcodes.text, Buffer.from(text)), encode(opcodes.ping, Buffer.alloc(0))]))
  }

  terminate(): void {
    this.#socket.destroy()
  }

  #upgrade(): void {
    const { headers, url } = this.#options
    const lines = [
      `GET ${url.pathname} HTTP/1.1`,
      ...Object.entries({
        host: url.host,
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": this.#key,
        ...headers,
      }).map(([name, value]) => `${name}: ${value}`),
    ]
    this.#socket.write(`${lines.join("\r\n")}\r\n\r\n`)
  }

  #read(bytes: Buffer): void {
    let all = this.#rest === undefined ? bytes : Buffer.concat([this.#rest, bytes])
    this.#rest = undefined
    if (!this.#isOpen) {
      const end = all.indexOf("\r\n\r\n")
      if (end < 0) return this.#keep(all)
      this.#accept(all.toString("latin1", 0, end))
      all = all.subarray(end + 4)
    }
    const used = this.#readFrames(all)
    if (used < all.length) this.#keep(all.subarray(used))
  }

  /** The buffer is read into again. */
  #keep(bytes: Buffer): void {
    this.#rest = Buffer.from(bytes)
  }

  #accept(head: string): void {
    const accept = createHash("sha1").update(`${this.#key}${keySuffix}`).digest("base64")
    const isAccepted = head.startsWith("HTTP/1.1 101 ") && head.includes(`: ${accept}`)
    if (!isAccepted) throw new Error(`the upgrade was refused: ${head.split("\r\n", 1)[0]}`)
    this.#isOpen = true
    this.#options.onOpen()
  }

  /** How many bytes were those of whole frames. */
  #readFrames(bytes: Buffer): number {
    let at = 0
    while (bytes.length - at >= 2) {
      const first = bytes[at] ?? 0
      const short = bytes[at + 1] ?? 0
      const headBytes = short < 126 ? 2 : short === 126 ? 4 : 10
      if (bytes.length - at < headBytes) break
      const length =
        short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
      const end = at + headBytes + length
      if (end > bytes.length) break
      this.#take(first, bytes.subarray(at + headBytes, end))
      at = end
    }
    return at
  }

  #take(first: number, content: Buffer): void {
    const opcode = first & 0x0f
    if ((first & 0x80) === 0 || opcode === 0) throw new Error("a text in fragments")
    if (opcode === opcodes.text) return this.#options.onText(content.toString("utf8"))
    this.#options.onAlive()
    if (opcode === opcodes.ping) this.#socket.write(encode(opcodes.pong, content))
    if (opcode === opcodes.close) this.#socket.end(encode(opcodes.close, content))
  }
}

function encode(opcode: number, content: Uint8Array): Buffer {
  const { length } = content
  const at = length < 126 ? 6 : 8
  if (length > 0xffff) throw new Error("a frame that is longer than a simulated agent's")
  const frame = Buffer.allocUnsafe(at + length)
  frame[0] = 0x80 | opcode
  frame[1] = 0x80 | (length < 126 ? length : 126)
  if (length >= 126) frame.writeUInt16BE(length, 2)
  frame.set(mask, at - 4)
  for (let index = 0; index < length; index++) frame[at + index] = (content[index] ?? 0) ^ (masks[index & 3] ?? 0)
  return frame
}
