import { join } from "node:path"
import type { BlobStore } from "./blob-store.ts"
import type { S3Options } from "./s3-blob-store.ts"

export interface BlobSettings {
  readonly directory: string
  readonly bytesMax: number
  readonly s3?: S3Options
}

/** A server elsewhere that writes into a shared directory has finished or given up after so long. */
const sharedUnfinishedMilliseconds = 86_400_000

/** The store that the settings name. */
export async function openBlobStore(
  settings: BlobSettings,
  options: { readonly dataDirectory: string; readonly isOnlyServer: boolean },
): Promise<{ readonly store: BlobStore; close(): Promise<void> }> {
  const { s3, directory, bytesMax } = settings
  if (s3 === undefined) {
    const { openDirectoryBlobStore } = await import("./directory-blob-store.ts")
    const unfinishedKeptMilliseconds = options.isOnlyServer ? 0 : sharedUnfinishedMilliseconds
    const store = await openDirectoryBlobStore({ directory, bytesMax, unfinishedKeptMilliseconds })
    return { store, close: () => Promise.resolve() }
  }
  const { openS3BlobStore } = await import("./s3-blob-store.ts")
  const store = await openS3BlobStore({ ...s3, bytesMax, spoolDirectory: join(options.dataDirectory, "blobs-spool") })
  return { store, close: () => store.close() }
}
