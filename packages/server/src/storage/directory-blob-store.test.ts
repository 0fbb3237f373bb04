import { createHash } from "node:crypto"
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable } from "node:stream"
import { buffer } from "node:stream/consumers"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import type { BlobStore } from "./blob-store.ts"
import { openDirectoryBlobStore } from "./directory-blob-store.ts"

describe("X13: the blob store", () => {
  let directory: string
  let store: BlobStore
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "signalbox blobs "))
    store = await openDirectoryBlobStore({ directory, bytesMax: 1_000_000 })
  })
  afterEach(() => rm(directory, { recursive: true }))

  const pathOf = (digest: string): string => join(directory, digest.slice(0, 2), digest.slice(2, 4), digest)
  const listAll = async (): Promise<unknown[]> => Array.fromAsync(store.list())

  it("gives back what was put, from a buffer and from a stream, under its SHA-256", async () => {
    const content = Buffer.alloc(200_000, "some content ")
    const digest = createHash("sha256").update(content).digest("hex")
    expect(await store.put(content)).toEqual({ digest, bytes: 200_000 })
    expect(await buffer(await store.open(digest))).toEqual(content)
    const parts = [content.subarray(0, 70_000), content.subarray(70_000)]
    expect(await store.put(Readable.from(parts))).toEqual({ digest, bytes: 200_000 })
    expect(await listAll()).toEqual([{ digest, bytes: 200_000 }])
    expect(store.bytesUsed).toBe(200_000)
    expect((await stat(pathOf(digest))).mode & 0o077).toBe(0)
  })

  it("keeps its count over a reopening, and removes what was left unfinished", async () => {
    await store.put(Buffer.from("a"))
    await writeFile(join(directory, "unfinished", "rest"), "half")
    store = await openDirectoryBlobStore({ directory, bytesMax: 10 })
    expect(store.bytesUsed).toBe(1)
    expect(await readdir(join(directory, "unfinished"))).toEqual([])
  })

  it("refuses content over its quota, of known length or not, and leaves nothing of it", async () => {
    const endless = Readable.from(
      (function* () {
        for (;;) yield Buffer.alloc(65_536)
      })(),
    )
    await expect(store.put(endless)).rejects.toMatchObject({ code: "storage.blob-quota" })
    await expect(store.put(Buffer.alloc(1_000_001))).rejects.toMatchObject({ code: "storage.blob-quota" })
    expect(await readdir(join(directory, "unfinished"))).toEqual([])
    expect(store.bytesUsed).toBe(0)
  })

  it("counts anew before it refuses: another server that shares the directory may have removed content", async () => {
    const other = await openDirectoryBlobStore({ directory, bytesMax: 1_000_000, unfinishedKeptMilliseconds: 60_000 })
    for (let round = 0; round < 2; round++) {
      const { digest } = await store.put(Buffer.alloc(600_000, `content ${round}`))
      expect(await other.remove(digest)).toBe(true)
    }
  })

  it("leaves nothing of content whose source fails", async () => {
    const failing = Readable.from(
      (async function* () {
        yield Buffer.from("part")
        throw new Error("the sender went away")
      })(),
    )
    await expect(store.put(failing)).rejects.toThrow("the sender went away")
    expect(await listAll()).toEqual([])
    expect(await readdir(join(directory, "unfinished"))).toEqual([])
  })

  it("fails a read of content that was changed on disk", async () => {
    const { digest } = await store.put(Buffer.from("right"))
    await writeFile(pathOf(digest), "wrong")
    await expect(buffer(await store.open(digest))).rejects.toMatchObject({ code: "storage.blob-damaged" })
  })

  it("forgets what was removed", async () => {
    const { digest } = await store.put(Buffer.from("x"))
    expect(await store.has(digest)).toBe(true)
    expect(await store.remove(digest)).toBe(true)
    expect(await store.remove(digest)).toBe(false)
    expect(await store.has(digest)).toBe(false)
    expect(store.bytesUsed).toBe(0)
    await expect(store.open(digest)).rejects.toMatchObject({ code: "storage.blob-not-found" })
    await expect(store.open("../../etc/passwd")).rejects.toThrow("64 hexadecimal digits")
  })
})
