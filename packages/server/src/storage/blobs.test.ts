import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable } from "node:stream"
import { buffer } from "node:stream/consumers"
import { hasCode } from "@signalbox/kernel/app-error"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { BlobStore } from "./blob-store.ts"
import { blobLimits, collectBlobs, createBlobs, type Blobs } from "./blobs.ts"
import type { Database } from "./database.ts"
import { openDirectoryBlobStore } from "./directory-blob-store.ts"
import { startServerLease } from "./server-lease.ts"
import { migrateBackgroundQueue } from "./background-queue.ts"

const owner = { account: "acc", aggregate: "exe_1" }

describe("X13: blobs that services reference", () => {
  let directory: string
  let test: TestDatabase
  let database: Database
  let store: BlobStore
  let blobs: Blobs

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "signalbox blobs "))
    test = await createTestDatabase(["storage"])
    database = test.database
    store = await openDirectoryBlobStore({ directory, bytesMax: 1_000_000 })
    blobs = createBlobs({ database, store, bytesMax: 10_000 })
  })
  afterAll(async () => {
    await test.drop()
    await rm(directory, { recursive: true })
  })

  /** Lets so many graces pass: the database's own times are set back. */
  async function age(graces: number): Promise<void> {
    const seconds = graces * blobLimits.graceSeconds + 1
    await database.query(
      `update blob set touched_at = touched_at - make_interval(secs => $1),
         condemned_at = condemned_at - make_interval(secs => $1)`,
      [seconds],
    )
  }
  const collect = (): Promise<number> => collectBlobs({ database, store })
  const has = (digest: string): Promise<boolean> => store.has(digest)

  it("stay while something needs them, and go two graces after nothing does", async () => {
    const kept = await blobs.put(Buffer.from("kept"))
    const lost = await blobs.put(Readable.from([Buffer.from("lo"), Buffer.from("st")]))
    await database.transaction((tx) => blobs.reference(tx, { ...owner, ...kept }))
    expect(await collect()).toBe(0)
    await age(1)
    expect(await collect(), "condemned only").toBe(0)
    expect(await has(lost.digest)).toBe(true)
    await age(1)
    expect(await collect()).toBe(1)
    expect(await has(lost.digest)).toBe(false)
    expect(await has(kept.digest)).toBe(true)
    await database.transaction((tx) => blobs.unreference(tx, owner))
    await age(1)
    await collect()
    await age(1)
    expect(await collect()).toBe(1)
    expect(await has(kept.digest)).toBe(false)
  })

  it("are saved from the collection by who stores, touches or references them meanwhile", async () => {
    const contents = ["stored again", "touched", "referenced"].map((text) => Buffer.from(text))
    const [again, touched, referenced] = await Promise.all(contents.map((content) => blobs.put(content)))
    if (!again || !touched || !referenced) throw new Error("three blobs were put")
    await age(1)
    await collect()
    await age(1)
    await blobs.put(Buffer.from("stored again"))
    await blobs.touch(touched.digest)
    await database.transaction((tx) => blobs.reference(tx, { ...owner, ...referenced }))
    expect(await collect()).toBe(0)
    for (const { digest } of [again, touched, referenced]) expect(await has(digest)).toBe(true)
    await expect(blobs.touch("0".repeat(64))).rejects.toSatisfy((error) => hasCode(error, "storage.blob-not-found"))
  })

  it("are never lost to a collection that runs while the same content is stored and referenced", async () => {
    const content = Buffer.from("contended")
    for (let round = 0; round < 25; round++) {
      const { digest } = await blobs.put(content)
      await database.transaction((tx) => blobs.unreference(tx, owner))
      await age(1)
      await collect()
      await age(1)
      const [stored] = await Promise.all([
        blobs.put(content).then(async (blob) => {
          await database.transaction((tx) => blobs.reference(tx, { ...owner, ...blob }))
          return blob
        }),
        collect(),
        collect(),
      ])
      expect(stored.digest).toBe(digest)
      expect(await buffer(await blobs.open(digest)), `round ${round}`).toEqual(content)
    }
  })

  it("are refused over the quota of all servers together", async () => {
    await blobs.put(Buffer.alloc(6000, "a"))
    await expect(blobs.put(Buffer.alloc(6000, "b"))).rejects.toSatisfy((error) => hasCode(error, "storage.blob-quota"))
    const other = createBlobs({ database, store, bytesMax: 10_000 })
    await expect(other.put(Buffer.alloc(6000, "b"))).rejects.toSatisfy((error) => hasCode(error, "storage.blob-quota"))
  })

  it("give a part of their content", async () => {
    const { digest } = await blobs.put(Buffer.from("0123456789"))
    expect((await buffer(await blobs.open(digest, { start: 3, end: 6 }))).toString()).toBe("345")
    expect((await buffer(await blobs.open(digest, { start: 8 }))).toString()).toBe("89")
    expect((await buffer(await blobs.open(digest, { start: 10 }))).toString()).toBe("")
  })

  it("a second server with a store of its own does not start; with the same store, and after the first, it does", async () => {
    await migrateBackgroundQueue(test.connection)
    const first = await startServerLease({ database, serverId: "srv_1", blobStoreId: store.id })
    const other = { database, serverId: "srv_2", blobStoreId: "directory:other" }
    await expect(startServerLease(other)).rejects.toSatisfy((error) => hasCode(error, "storage.blob-store-not-shared"))
    expect(await database.query("select id from server")).toEqual([{ id: "srv_1" }])
    const again = await openDirectoryBlobStore({ directory, bytesMax: 10, unfinishedKeptMilliseconds: 60_000 })
    expect(again.id).toBe(store.id)
    const second = await startServerLease({ database, serverId: "srv_3", blobStoreId: again.id })
    await second.stop()
    await first.stop()
    await (await startServerLease(other)).stop()
  })
})
