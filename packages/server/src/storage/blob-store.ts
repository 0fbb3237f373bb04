import type { Readable } from "node:stream"

export interface StoredBlob {
  /** SHA-256 of the content, 64 hexadecimal digits. */
  readonly digest: string
  readonly bytes: number
}

/** Part of a blob: `start` up to, and not with, `end`. */
export interface ByteRange {
  readonly start: number
  readonly end?: number
}

/** Content that was taken in and is not part of the store yet. One of the two has to be called. */
export interface StagedBlob extends StoredBlob {
  /** Makes it part of the store; a second time the same content costs no space. */
  publish(): Promise<void>
  discard(): Promise<void>
}

/** Content by its digest: what is stored under a digest never changes. A directory, or an S3-compatible endpoint. */
export interface BlobStore {
  /** Tells stores apart: servers that give the same text share one. */
  readonly id: string
  /** Takes content in, up to what the store may hold. @throws storage.blob-quota, storage.disk-full */
  stage(content: Uint8Array | Readable): Promise<StagedBlob>
  /** Stages and publishes. @throws storage.blob-quota, storage.disk-full */
  put(content: Uint8Array | Readable): Promise<StoredBlob>
  /**
   * The content, or a part of it. A stream from the beginning to the end fails there where it does not match; of a
   * part, the reader checks what it has put together. @throws storage.blob-not-found, storage.blob-damaged
   */
  open(digest: string, range?: ByteRange): Promise<Readable>
  has(digest: string): Promise<boolean>
  /** Removes content; true where there was any. */
  remove(digest: string): Promise<boolean>
  /** Everything stored, in the order of digests. */
  list(): AsyncIterable<StoredBlob>
  /** Bytes in use, as far as this process knows. */
  readonly bytesUsed: number
}
