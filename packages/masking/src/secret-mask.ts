import { AppError } from "@signalbox/kernel/app-error"
import type { StepResult } from "@signalbox/contracts/fleet/agent-protocol"

/** Shorter values are not masked: they would be found everywhere. */
export const maskedLengthMin = 6
const stars = Buffer.from("***")
/** Where `base64` breaks its lines, and where MIME and PEM do. */
const base64Widths = [76, 64] as const

interface Pattern {
  readonly bytes: Buffer
  /** For each prefix the length of its longest proper prefix that is its suffix too (Knuth, Morris, Pratt). */
  readonly fallbacks: Int32Array
}

/** Replaces the secrets of one order in everything that leaves the agent or is written down. Has no state. */
export class SecretMask {
  readonly #patterns: readonly Pattern[]

  /** @throws agent.secret-refused where the values make more patterns than `patternsMax` */
  constructor(values: Iterable<string>, patternsMax: number) {
    const texts = new Set<string>()
    for (const value of values) {
      for (const text of spellingsOf(value)) texts.add(text)
      if (texts.size > patternsMax) {
        throw new AppError("agent.secret-refused", `the secrets have too many lines to be masked (${patternsMax})`)
      }
    }
    this.#patterns = [...texts].map((text) => makePattern(Buffer.from(text)))
  }

  get isEmpty(): boolean {
    return this.#patterns.length === 0
  }

  text(text: string): string {
    if (this.isEmpty) return text
    const stream = this.stream()
    return Buffer.concat([stream.write(Buffer.from(text)), stream.end()]).toString("utf8")
  }

  texts<T extends Readonly<Record<string, string>>>(texts: T): Record<keyof T, string> {
    return Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, this.text(text)])) as Record<
      keyof T,
      string
    >
  }

  /** Message and outputs; what was kept of the streams went through `stream`. */
  result(result: StepResult): StepResult {
    if (this.isEmpty) return result
    return {
      ...result,
      ...(result.message !== undefined && { message: this.text(result.message) }),
      ...(result.outputs && { outputs: this.texts(result.outputs) }),
    }
  }

  stream(): MaskStream {
    return new MaskStream(this.#patterns)
  }
}

/**
 * Masks a stream that comes in pieces. What is given out doesn't depend on how it was cut: the bytes at the end that may
 * be the beginning of a secret are held back, which are always fewer than the longest secret has.
 */
export class MaskStream {
  readonly #patterns: readonly Pattern[]
  #held: Buffer = Buffer.alloc(0)
  /** So many of the held bytes belong to a secret whose stars are out already. */
  #covered = 0

  constructor(patterns: readonly Pattern[]) {
    this.#patterns = patterns
  }

  write(chunk: Buffer): Buffer {
    if (this.#patterns.length === 0) return chunk
    const all = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    return this.#giveOut(all, all.length - this.#undecidedBytes(all))
  }

  end(): Buffer {
    return this.#giveOut(this.#held, this.#held.length)
  }

  #undecidedBytes(all: Buffer): number {
    return this.#patterns.reduce((most, pattern) => Math.max(most, begunAtEnd(all, pattern)), 0)
  }

  #giveOut(all: Buffer, end: number): Buffer {
    const parts: Buffer[] = []
    let at = 0
    let starred = this.#covered
    for (const { from, to } of findMatches(all, this.#patterns)) {
      if (from >= end) break
      if (from >= starred) {
        if (from > Math.max(at, starred)) parts.push(all.subarray(Math.max(at, starred), from))
        parts.push(stars)
      }
      starred = Math.max(starred, to)
      at = starred
    }
    at = Math.max(at, starred)
    if (at < end) parts.push(all.subarray(at, end))
    this.#covered = Math.max(0, starred - end)
    // A copy, so that a few bytes don't hold a whole buffer.
    this.#held = Buffer.from(all.subarray(end))
    return parts.length === 1 ? (parts[0] ?? all) : Buffer.concat(parts)
  }
}

/** Where secrets are, in their sequence; a secret that overlaps itself again and again counts as one. */
function findMatches(all: Buffer, patterns: readonly Pattern[]): Array<{ from: number; to: number }> {
  const found: Array<{ from: number; to: number }> = []
  for (const { bytes } of patterns) {
    let last: { from: number; to: number } | undefined
    for (let from = all.indexOf(bytes); from !== -1; from = all.indexOf(bytes, from + 1)) {
      const to = from + bytes.length
      if (last && from < last.to) last.to = to
      else found.push((last = { from, to }))
    }
  }
  return found.toSorted((a, b) => a.from - b.from || b.to - a.to)
}

/** How many bytes at the end are a beginning of the pattern, and not all of it. */
function begunAtEnd(all: Buffer, { bytes, fallbacks }: Pattern): number {
  let matched = 0
  for (let at = Math.max(0, all.length - bytes.length + 1); at < all.length; at++) {
    while (matched > 0 && bytes[matched] !== all[at]) matched = fallbacks[matched - 1] ?? 0
    if (bytes[matched] === all[at]) matched++
  }
  return matched
}

function makePattern(bytes: Buffer): Pattern {
  const fallbacks = new Int32Array(bytes.length)
  for (let at = 1, matched = 0; at < bytes.length; at++) {
    while (matched > 0 && bytes[matched] !== bytes[at]) matched = fallbacks[matched - 1] ?? 0
    if (bytes[matched] === bytes[at]) matched++
    fallbacks[at] = matched
  }
  return { bytes, fallbacks }
}

/** A value, its lines, and how they look in base64 (wherever they stand in what was encoded), in a URL and in JSON. */
function* spellingsOf(value: string): Generator<string> {
  const plain = [value, value.trim(), ...value.split(/\r?\n/)]
  for (const text of plain) {
    if (text.length < maskedLengthMin) continue
    yield text
    yield JSON.stringify(text).slice(1, -1)
    yield* urlSpellings(text)
    yield* base64Spellings(text)
  }
}

function* urlSpellings(text: string): Generator<string> {
  const wellFormed = text.toWellFormed()
  yield encodeURIComponent(wellFormed)
  yield encodeURIComponent(wellFormed).replaceAll("%20", "+")
  yield new URLSearchParams({ "": wellFormed }).toString().slice(1)
}

function* base64Spellings(text: string): Generator<string> {
  const bytes = Buffer.from(text)
  for (const before of [0, 1, 2]) {
    const encoded = Buffer.concat([Buffer.alloc(before), bytes])
      .toString("base64")
      .replace(/=+$/, "")
    // The characters at the edges hold bits of what stands beside the value.
    const from = Math.ceil((before * 8) / 6)
    const to = Math.floor(((before + bytes.length) * 8) / 6)
    const whole = encoded.slice(from, to)
    if (whole.length < maskedLengthMin) continue
    yield whole
    yield whole.replaceAll("+", "-").replaceAll("/", "_")
    if (before === 0) yield* wrapped(whole)
  }
}

function* wrapped(encoded: string): Generator<string> {
  for (const width of base64Widths) {
    for (let at = 0; encoded.length > width && at < encoded.length; at += width) {
      const line = encoded.slice(at, at + width)
      if (line.length >= maskedLengthMin) yield line
    }
  }
}
