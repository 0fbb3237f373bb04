import { createHash } from "node:crypto"
import { mkdtemp, readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable } from "node:stream"
import { buffer } from "node:stream/consumers"
import { hasCode } from "@signalbox/kernel/app-error"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { openS3BlobStore } from "./s3-blob-store.ts"
import { startS3Server, type S3Server } from "./s3-server.fixture.ts"

describe("X13: blobs in an S3-compatible store", () => {
  let server: S3Server
  let spoolDirectory: string
  let store: Awaited<ReturnType<typeof openS3BlobStore>>

  beforeAll(async () => {
    server = await startS3Server()
    spoolDirectory = await mkdtemp(join(tmpdir(), "signalbox spool "))
    store = await openS3BlobStore({ url: server.url, ...server.key, spoolDirectory, bytesMax: 1_000_000 })
  })
  afterAll(async () => {
    await store.close()
    await server.stop()
    await rm(spoolDirectory, { recursive: true })
  })

  const codeIs = (code: Parameters<typeof hasCode>[1]) => expect.toSatisfy((error) => hasCode(error, code))

  it("come back as they were put, whole or in part, and the spool is empty afterwards", async () => {
    const content = Buffer.alloc(300_000, "some content ")
    const digest = createHash("sha256").update(content).digest("hex")
    expect(await store.put(content)).toEqual({ digest, bytes: 300_000 })
    expect(await store.put(Readable.from([content.subarray(0, 7), content.subarray(7)]))).toEqual({
      digest,
      bytes: 300_000,
    })
    expect([...server.objects.keys()]).toEqual([`some/pre fix/${digest.slice(0, 2)}/${digest.slice(2, 4)}/${digest}`])
    expect(await buffer(await store.open(digest))).toEqual(content)
    expect(await buffer(await store.open(digest, { start: 10, end: 20 }))).toEqual(content.subarray(10, 20))
    expect(await buffer(await store.open(digest, { start: 299_990 }))).toEqual(content.subarray(299_990))
    expect(await readdir(spoolDirectory)).toEqual([])
    expect(await store.has(digest)).toBe(true)
    expect(await store.remove(digest)).toBe(true)
    expect(await store.remove(digest)).toBe(false)
    await expect(store.open(digest)).rejects.toThrow(codeIs("storage.blob-not-found"))
  })

  it("are listed over several pages", async () => {
    const digests = []
    for (const text of ["a", "b", "c", "d", "e"]) digests.push((await store.put(Buffer.from(text))).digest)
    const listed = await Array.fromAsync(store.list())
    expect(listed.map(({ digest }) => digest)).toEqual(digests.toSorted())
    expect(listed.every(({ bytes }) => bytes === 1)).toBe(true)
  })

  it("are found damaged at the end of reading", async () => {
    const { digest } = await store.put(Buffer.from("the right content"))
    for (const name of server.objects.keys())
      if (name.endsWith(digest)) server.objects.set(name, Buffer.from("the wrong content"))
    await expect(buffer(await store.open(digest))).rejects.toThrow(codeIs("storage.blob-damaged"))
  })

  it("are refused over the quota while they come, and nothing of them stays", async () => {
    const endless = Readable.from(
      (function* () {
        for (let n = 0; n < 1000; n++) yield Buffer.alloc(10_000)
      })(),
    )
    await expect(store.put(endless)).rejects.toThrow(codeIs("storage.blob-quota"))
    expect(await readdir(spoolDirectory)).toEqual([])
  })

  it("survive a store that is away for a moment", async () => {
    server.fail(2)
    const { digest } = await store.put(Buffer.from("after two failures"))
    expect(await store.has(digest)).toBe(true)
  })

  it("are refused at the start with wrong keys, and where nobody listens", async () => {
    const options = { url: server.url, ...server.key, spoolDirectory, bytesMax: 1 }
    await expect(openS3BlobStore({ ...options, secretKey: "wrong" })).rejects.toThrow("SignatureDoesNotMatch")
    await expect(openS3BlobStore({ ...options, url: "http://127.0.0.1:1/bucket" })).rejects.toThrow(
      codeIs("storage.blob-unavailable"),
    )
  })
})
