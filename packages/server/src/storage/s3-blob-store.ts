/**
 * Blobs in an S3-compatible store: one object each, `PREFIX/ab/cd/<digest>`, sent under its SHA-256, so that the store
 * itself refuses what arrives damaged. Content of unknown length gathers in a file of this machine first. The endpoint
 * comes from the settings, not from users, so these calls need no check of addresses.
 */
import { createHash, randomBytes } from "node:crypto"
import { createReadStream, createWriteStream } from "node:fs"
import { mkdir, readdir, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { Readable, Transform } from "node:stream"
import { pipeline } from "node:stream/promises"
import { setTimeout as delay } from "node:timers/promises"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { Agent, type Dispatcher } from "undici"
import type { BlobStore, ByteRange, StagedBlob, StoredBlob } from "./blob-store.ts"
import { emptyDigest, signCall, type SigningKey } from "./s3-signature.ts"

export interface S3Options extends SigningKey {
  /** `https://HOST/BUCKET` or `https://HOST/BUCKET/PREFIX`. */
  readonly url: string
}

const s3Limits = {
  attemptsMax: 4,
  retryMilliseconds: 200,
  connectMilliseconds: 10_000,
  silenceMilliseconds: 60_000,
  spooledMilliseconds: 86_400_000,
  listPagesMax: 1_000_000,
  listBytesMax: 16 * 1024 * 1024,
} as const

/** Opens the store; makes one call to see that bucket and keys are right. @throws settings.invalid, storage.blob-unavailable */
export async function openS3BlobStore(
  options: S3Options & { readonly spoolDirectory: string; readonly bytesMax: number },
): Promise<BlobStore & { close(): Promise<void> }> {
  await mkdir(options.spoolDirectory, { recursive: true, mode: 0o700 })
  await removeAbandoned(options.spoolDirectory)
  const store = new S3BlobStore(options)
  try {
    await store.check()
    return store
  } catch (error) {
    await store.close()
    throw error
  }
}

/** What a process left that is gone; another one (a backup) may be writing beside this one. */
async function removeAbandoned(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name)
    const found = await stat(path).catch(() => undefined)
    if (found && Date.now() - found.mtimeMs > s3Limits.spooledMilliseconds) await rm(path, { force: true })
  }
}

class S3BlobStore implements BlobStore {
  readonly id: string
  readonly bytesUsed = 0
  readonly #options: S3Options & { readonly spoolDirectory: string; readonly bytesMax: number }
  readonly #base: URL
  readonly #bucketPath: string
  readonly #prefix: string
  readonly #agent = new Agent({
    allowH2: false,
    connect: { timeout: s3Limits.connectMilliseconds },
    headersTimeout: s3Limits.silenceMilliseconds,
    bodyTimeout: s3Limits.silenceMilliseconds,
  })

  constructor(options: S3Options & { readonly spoolDirectory: string; readonly bytesMax: number }) {
    this.#options = options
    this.#base = new URL(options.url)
    const [bucket = "", ...prefix] = this.#base.pathname.split("/").filter(Boolean).map(decodeURIComponent)
    if (bucket === "")
      throw new AppError(
        "settings.invalid",
        "setting blobs-s3-url: write https://HOST/BUCKET or https://HOST/BUCKET/PREFIX",
      )
    this.#bucketPath = `/${encodeURIComponent(bucket)}`
    this.#prefix = prefix.map((part) => `${part}/`).join("")
    this.id = `s3:${this.#base.host}/${bucket}/${this.#prefix}`
  }

  async check(): Promise<void> {
    await this.#listPage(undefined, 1)
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }

  async stage(content: Uint8Array | Readable): Promise<StagedBlob> {
    if (content instanceof Uint8Array) {
      const digest = createHash("sha256").update(content).digest("hex")
      this.#refuseOver(content.length)
      const publish = () => this.#publish({ digest, bytes: content.length }, () => content)
      return { digest, bytes: content.length, publish, discard: () => Promise.resolve() }
    }
    const path = join(this.#options.spoolDirectory, randomBytes(12).toString("hex"))
    const discard = () => rm(path, { force: true })
    try {
      const stored = await this.#spool(path, content)
      const publish = async () => {
        try {
          await this.#publish(stored, () => createReadStream(path))
        } finally {
          await discard()
        }
      }
      return { ...stored, publish, discard }
    } catch (error) {
      await discard()
      throw toS3Error(error)
    }
  }

  async put(content: Uint8Array | Readable): Promise<StoredBlob> {
    const { digest, bytes, publish } = await this.stage(content)
    await publish()
    return { digest, bytes }
  }

  async open(digest: string, range?: ByteRange): Promise<Readable> {
    const { start = 0, end } = range ?? {}
    if (end !== undefined && start >= end) return Readable.from([])
    const partial = start > 0 || end !== undefined
    const headers = partial ? { range: `bytes=${start}-${end === undefined ? "" : end - 1}` } : {}
    const response = await this.#call({ method: "GET", key: this.#keyOf(digest), headers })
    if (response.statusCode === 416) {
      await response.body.dump()
      return Readable.from([])
    }
    if (response.statusCode === 404) {
      await response.body.dump()
      throw new AppError("storage.blob-not-found", `no content ${digest} in the blob store`)
    }
    await refuseUnless(response, partial ? 206 : 200)
    return partial ? response.body : response.body.pipe(verifier(digest, response.body))
  }

  async has(digest: string): Promise<boolean> {
    const response = await this.#call({ method: "HEAD", key: this.#keyOf(digest) })
    await response.body.dump()
    if (response.statusCode === 404) return false
    if (response.statusCode !== 200) throw refused(response.statusCode)
    return true
  }

  async remove(digest: string): Promise<boolean> {
    const existed = await this.has(digest)
    const response = await this.#call({ method: "DELETE", key: this.#keyOf(digest) })
    if (response.statusCode !== 404) await refuseUnless(response, 204, 200)
    await response.body.dump()
    return existed
  }

  async *list(): AsyncIterable<StoredBlob> {
    let token: string | undefined
    for (let page = 0; page < s3Limits.listPagesMax; page++) {
      const { blobs, next } = await this.#listPage(token, 1000)
      yield* blobs
      if (next === undefined) return
      token = next
    }
  }

  async #spool(path: string, content: Readable): Promise<StoredBlob> {
    const hash = createHash("sha256")
    let bytes = 0
    const count = new Transform({
      transform: (chunk: Uint8Array | string, _encoding, done) => {
        const part = typeof chunk === "string" ? Buffer.from(chunk) : chunk
        bytes += part.length
        hash.update(part)
        try {
          this.#refuseOver(bytes)
          done(null, part)
        } catch (error) {
          done(error as Error)
        }
      },
    })
    await pipeline(content, count, createWriteStream(path, { flags: "wx", mode: 0o600 }))
    return { digest: hash.digest("hex"), bytes }
  }

  async #publish({ digest, bytes }: StoredBlob, body: () => Uint8Array | Readable): Promise<void> {
    if (await this.has(digest)) return
    const headers = { "content-length": String(bytes), "content-type": "application/octet-stream" }
    const response = await this.#call({ method: "PUT", key: this.#keyOf(digest), headers, digest, body })
    await refuseUnless(response, 200)
    await response.body.dump()
  }

  async #listPage(token: string | undefined, keysMax: number): Promise<{ blobs: StoredBlob[]; next?: string }> {
    const query = { "list-type": "2", prefix: this.#prefix, "max-keys": String(keysMax) }
    const response = await this.#call({
      method: "GET",
      query: token === undefined ? query : { ...query, "continuation-token": token },
    })
    await refuseUnless(response, 200)
    const text = await response.body.text()
    assert(text.length <= s3Limits.listBytesMax, "a page of a list is bounded by its keys")
    const blobs = [...text.matchAll(/<Contents>(.*?)<\/Contents>/gs)].flatMap(([, item = ""]) => {
      const digest = /<Key>[^<]*?([0-9a-f]{64})<\/Key>/.exec(item)?.[1]
      return digest === undefined ? [] : [{ digest, bytes: Number(/<Size>(\d+)<\/Size>/.exec(item)?.[1] ?? 0) }]
    })
    const next = /<NextContinuationToken>([^<]+)<\/NextContinuationToken>/.exec(text)?.[1]
    return next === undefined ? { blobs } : { blobs, next: unescapeXml(next) }
  }

  /** One call, again where the store or the network fails for a moment: each of them may be repeated. */
  async #call(call: {
    readonly method: Dispatcher.HttpMethod
    readonly key?: string
    readonly query?: Readonly<Record<string, string>>
    readonly headers?: Readonly<Record<string, string>>
    readonly digest?: string
    readonly body?: () => Uint8Array | Readable
  }): Promise<Dispatcher.ResponseData> {
    const url = new URL(this.#base.origin)
    const key = call.key?.split("/").map(encodeURIComponent).join("/")
    url.pathname = key === undefined ? this.#bucketPath : `${this.#bucketPath}/${key}`
    for (const [name, value] of Object.entries(call.query ?? {})) url.searchParams.set(name, value)
    for (let attempt = 1; ; attempt++) {
      const headers = signCall(this.#options, {
        method: call.method,
        url,
        headers: call.headers ?? {},
        payloadDigest: call.digest ?? emptyDigest,
        now: Date.now(),
      })
      const last = attempt >= s3Limits.attemptsMax
      try {
        const response = await this.#agent.request({
          origin: url.origin,
          path: `${url.pathname}${url.search}`,
          method: call.method,
          headers,
          ...(call.body ? { body: call.body() } : {}),
        })
        if (response.statusCode < 500 || last) return response
        await response.body.dump()
      } catch (error) {
        if (last) throw toS3Error(error)
      }
      await delay(s3Limits.retryMilliseconds * 2 ** attempt)
    }
  }

  #refuseOver(bytes: number): void {
    if (bytes > this.#options.bytesMax)
      throw new AppError("storage.blob-quota", `the blob store holds at most ${this.#options.bytesMax} bytes`)
  }

  #keyOf(digest: string): string {
    assert(/^[0-9a-f]{64}$/.test(digest), "a blob is named by 64 hexadecimal digits")
    return `${this.#prefix}${digest.slice(0, 2)}/${digest.slice(2, 4)}/${digest}`
  }
}

function verifier(digest: string, source: Readable): Transform {
  const hash = createHash("sha256")
  const verified = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
    flush(done) {
      const good = hash.digest("hex") === digest
      done(good ? null : new AppError("storage.blob-damaged", `the content stored as ${digest} is not what it was`))
    },
  })
  source.on("error", (error) => verified.destroy(toS3Error(error) as Error))
  verified.on("close", () => source.destroy())
  return verified
}

async function refuseUnless(response: Dispatcher.ResponseData, ...statuses: readonly number[]): Promise<void> {
  if (statuses.includes(response.statusCode)) return
  const code = /<Code>([A-Za-z]{1,64})<\/Code>/.exec(await response.body.text())?.[1]
  throw refused(response.statusCode, code)
}

function refused(status: number, code?: string): AppError {
  const what = code === undefined ? `status ${status}` : `${code}, status ${status}`
  return new AppError("storage.blob-unavailable", `the S3 store answered ${what}`)
}

function toS3Error(error: unknown): unknown {
  if (isAppError(error)) return error
  const { code } = error as NodeJS.ErrnoException
  if (code === "ENOSPC" || code === "EDQUOT")
    return new AppError("storage.disk-full", "storing content: the disk is full", { cause: error })
  return new AppError("storage.blob-unavailable", `the S3 store can't be reached (${code ?? String(error)})`, {
    cause: error,
  })
}

function unescapeXml(text: string): string {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", '"').replaceAll("&amp;", "&")
}
