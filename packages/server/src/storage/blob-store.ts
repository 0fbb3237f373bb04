import type { Readable } from "node:stream"

export interface StoredBlob {
  /** SHA-256 of the content, 64 hexadecimal digits. */
  readonly digest: string
  readonly bytes: number
}

/**
 * Content by its digest: what is stored under a digest never changes. A directory by default; the shape leaves room
 * for an S3-compatible store.
 */
export interface BlobStore {
  /** Stores content; a second time the same content costs no space. @throws storage.blob-quota, storage.disk-full */
  put(content: Uint8Array | Readable): Promise<StoredBlob>
  /** The content; the stream fails at its end where it does not match. @throws storage.blob-not-found, storage.blob-damaged */
  open(digest: string): Promise<Readable>
  has(digest: string): Promise<boolean>
  /** Removes content; true where there was any. */
  remove(digest: string): Promise<boolean>
  /** Everything stored, in the order of digests. */
  list(): AsyncIterable<StoredBlob>
  /** Bytes in use. */
  readonly bytesUsed: number
}
