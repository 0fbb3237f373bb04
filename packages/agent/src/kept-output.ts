import type { KeptOutput } from "@signalbox/contracts/fleet/agent-protocol"

/**
 * The head and the tail of a stream, in memory that doesn't grow with the stream: `bytesMax` in all, half for each.
 * Cuts fall between characters; bytes that are no UTF-8, and NUL, become U+FFFD (a database can't hold a NUL in text).
 */
export class OutputKeeper {
  readonly #headMax: number
  readonly #tailMax: number
  #head: Buffer[] = []
  #headBytes = 0
  #tail: Buffer | undefined
  #tailBytes = 0
  #tailEnd = 0
  #bytes = 0

  constructor(bytesMax: number) {
    this.#headMax = Math.ceil(bytesMax / 2)
    this.#tailMax = bytesMax - this.#headMax
  }

  write(chunk: Buffer): void {
    this.#bytes += chunk.length
    const forHead = Math.min(chunk.length, this.#headMax - this.#headBytes)
    if (forHead > 0) {
      this.#head.push(Buffer.from(chunk.subarray(0, forHead)))
      this.#headBytes += forHead
    }
    if (forHead < chunk.length) this.#writeTail(chunk.subarray(forHead))
  }

  #writeTail(chunk: Buffer): void {
    if (this.#tailMax === 0) return
    const tail = (this.#tail ??= Buffer.alloc(this.#tailMax))
    const rest = chunk.length > this.#tailMax ? chunk.subarray(chunk.length - this.#tailMax) : chunk
    const first = Math.min(rest.length, this.#tailMax - this.#tailEnd)
    rest.copy(tail, this.#tailEnd, 0, first)
    rest.copy(tail, 0, first)
    this.#tailEnd = (this.#tailEnd + rest.length) % this.#tailMax
    this.#tailBytes = Math.min(this.#tailMax, this.#tailBytes + rest.length)
  }

  result(): KeptOutput {
    const head = Buffer.concat(this.#head)
    const tail = this.#tailInOrder()
    const truncated = this.#bytes > head.length + tail.length
    if (!truncated) return { head: decode(Buffer.concat([head, tail])), tail: "", bytes: this.#bytes, truncated }
    return {
      head: decode(head.subarray(0, utf8End(head))),
      tail: decode(tail.subarray(utf8Start(tail))),
      bytes: this.#bytes,
      truncated,
    }
  }

  #tailInOrder(): Buffer {
    if (!this.#tail || this.#tailBytes < this.#tailMax)
      return this.#tail?.subarray(0, this.#tailBytes) ?? Buffer.alloc(0)
    return Buffer.concat([this.#tail.subarray(this.#tailEnd), this.#tail.subarray(0, this.#tailEnd)])
  }
}

export function decode(bytes: Buffer): string {
  return bytes.toString("utf8").replaceAll("\0", "\uFFFD")
}

/** Where to cut so that no character is torn at the end: before a last sequence that lacks bytes. */
export function utf8End(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0
    if ((byte & 0xc0) === 0x80) continue
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return length > back ? bytes.length - back : bytes.length
  }
  return bytes.length
}

/** Where the first whole character begins: after at most three continuation bytes. */
export function utf8Start(bytes: Buffer): number {
  let start = 0
  while (start < Math.min(3, bytes.length) && ((bytes[start] ?? 0) & 0xc0) === 0x80) start++
  return start
}
