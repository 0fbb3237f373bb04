import type { Readable } from "node:stream"

/** What a reading operation with `rawOutput` gives: bytes instead of JSON, the whole or one range of them. */
export class RawContent {
  readonly bytes: number
  readonly etag: string
  readonly open: (range: { readonly start: number; readonly end: number }) => Promise<Readable>

  constructor(content: Pick<RawContent, "bytes" | "etag" | "open">) {
    this.bytes = content.bytes
    this.etag = content.etag
    this.open = content.open
  }
}

/** Raw content as a handler returns it: the declaration's own type says text, which is what a client sees of bytes. */
export function rawContent(content: Pick<RawContent, "bytes" | "etag" | "open">): string {
  return new RawContent(content) as unknown as string
}
