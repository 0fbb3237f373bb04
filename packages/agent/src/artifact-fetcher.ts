import { createHash, type Hash, randomUUID } from "node:crypto"
import { createReadStream } from "node:fs"
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from "node:fs/promises"
import { type IncomingMessage, request as httpRequest } from "node:http"
import { request as httpsRequest } from "node:https"
import { join } from "node:path"
import type { FileOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import type { AgentRunLimits } from "./agent-limits.ts"
import { errorText } from "./agent-logger.ts"
import type { RequestPace } from "./request-pace.ts"
import { connectionAgent, serverEndpoint } from "./server-transport.ts"

export type Artifact = NonNullable<FileOrder["artifact"]>

export interface ArtifactFetcherOptions {
  readonly dataDirectory: string
  readonly server: URL
  readonly ca?: string
  readonly limits: AgentRunLimits
  /** A session token, good for one call. */
  readonly token: () => Promise<string>
  /** Shared with the session: the server remembers so many tokens of a node and no more. */
  readonly pace: RequestPace
}

const retryMilliseconds = 500
const silenceMilliseconds = 30_000

/**
 * Owns `artifacts/`, where what the server sends gathers under its digest. A download that broke off is taken up where it
 * ended, also by the next task or a later agent; nothing is handed out whose digest is another.
 */
export class ArtifactFetcher {
  readonly #options: ArtifactFetcherOptions
  #queue: Promise<unknown> = Promise.resolve()
  #hasBegun = false

  constructor(options: ArtifactFetcherOptions) {
    this.#options = options
  }

  /** The file with the artifact's bytes, which the caller removes. @throws agent.step-refused, agent.artifact-failed */
  async fetch(artifact: Artifact, stop: AbortSignal): Promise<string> {
    const result = this.#queue.then(() => this.#fetch(artifact, stop))
    this.#queue = result.catch(() => undefined)
    return await result
  }

  async #fetch(artifact: Artifact, stop: AbortSignal): Promise<string> {
    const { dataDirectory, limits } = this.#options
    if (artifact.bytes > limits.artifactBytesMax) {
      throw new AppError("agent.step-refused", `the artifact has more than ${limits.artifactBytesMax} bytes`)
    }
    const directory = join(dataDirectory, "artifacts")
    await mkdir(directory, { recursive: true, mode: 0o700 })
    const part = join(directory, `${artifact.digest}.part`)
    await this.#forgetOldParts(directory, `${artifact.digest}.part`)
    for (let tries = 1; ; tries++) {
      stop.throwIfAborted()
      try {
        await this.#load(artifact, part, stop)
        // A name of its own, since a task beside this one may want the same artifact before it was taken away.
        const whole = join(directory, `${artifact.digest}.${randomUUID()}`)
        await rename(part, whole)
        return whole
      } catch (cause) {
        stop.throwIfAborted()
        const permanent = cause instanceof AppError && !cause.entry.retryable
        if (tries >= limits.artifactTriesMax || permanent) throw failure(artifact, cause)
        await new Promise((resolve) => setTimeout(resolve, retryMilliseconds * tries))
      }
    }
  }

  async #forgetOldParts(directory: string, kept: string): Promise<void> {
    const parts = []
    for (const name of await readdir(directory)) {
      const isPart = name.endsWith(".part")
      // What an agent before this one had loaded and not yet taken away.
      if (!isPart && !this.#hasBegun) await rm(join(directory, name), { force: true })
      const found = isPart && name !== kept ? await stat(join(directory, name)).catch(() => undefined) : undefined
      if (found) parts.push({ name, at: found.mtimeMs })
    }
    this.#hasBegun = true
    parts.sort((a, b) => b.at - a.at)
    for (const { name } of parts.slice(this.#options.limits.artifactPartsMax - 1)) await rm(join(directory, name))
  }

  async #load(artifact: Artifact, part: string, stop: AbortSignal): Promise<void> {
    const hash = createHash("sha256")
    const file = await open(part, "a", 0o600)
    try {
      let bytes = await hashUpTo(part, artifact.bytes, hash)
      if ((await file.stat()).size > bytes) await file.truncate(bytes)
      if (bytes < artifact.bytes) bytes += await this.#append({ artifact, file, hash, from: bytes, stop })
      if (bytes < artifact.bytes) throw new AppError("agent.artifact-failed", `it ended after ${bytes} bytes`)
      if (hash.digest("hex") === artifact.digest) return await file.sync()
      // Begun anew by the next try: what is there can't be made right by more of it.
      await file.truncate(0)
      throw new AppError("agent.artifact-failed", "its digest is another than the order's")
    } finally {
      await file.close()
    }
  }

  /** How many bytes came. */
  async #append(load: { artifact: Artifact; file: FileHandle; hash: Hash; from: number; stop: AbortSignal }) {
    const { artifact, file, hash, from, stop } = load
    const response = await this.#request(artifact.path, from, stop)
    const { statusCode = 0 } = response
    if (statusCode !== 206 && !(statusCode === 200 && from === 0)) {
      response.destroy()
      if (statusCode === 200) await file.truncate(0)
      const permanent = statusCode === 403 || statusCode === 404 || statusCode === 410
      const code = permanent ? "agent.step-refused" : "agent.artifact-failed"
      throw new AppError(code, `the server answered ${statusCode}`)
    }
    let bytes = 0
    for await (const chunk of response as AsyncIterable<Buffer>) {
      if (from + bytes + chunk.length > artifact.bytes)
        throw new AppError("agent.artifact-failed", "more came than announced")
      await file.writeFile(chunk)
      hash.update(chunk)
      bytes += chunk.length
    }
    return bytes
  }

  async #request(path: string, from: number, stop: AbortSignal): Promise<IncomingMessage> {
    const { server, ca, token, pace } = this.#options
    const url = serverEndpoint(server, path)
    await pace.take(stop)
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    const request = (url.protocol === "https:" ? httpsRequest : httpRequest)(url, {
      agent: connectionAgent(url, { ...(ca !== undefined && { ca }) }),
      headers: { authorization: `Bearer ${await token()}`, ...(from > 0 && { range: `bytes=${from}-` }) },
      timeout: silenceMilliseconds,
      signal: stop,
    })
    request.on("timeout", () => request.destroy(new Error("the server fell silent")))
    request.on("error", reject)
    request.on("response", resolve)
    request.end()
    return await promise
  }
}

async function hashUpTo(path: string, bytesMax: number, hash: Hash): Promise<number> {
  if (bytesMax === 0) return 0
  let bytes = 0
  for await (const chunk of createReadStream(path, { end: bytesMax - 1 }) as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
  }
  return bytes
}

function failure({ digest, path }: Artifact, cause: unknown): AppError {
  const code = cause instanceof AppError && cause.code === "agent.step-refused" ? cause.code : "agent.artifact-failed"
  return new AppError(code, `the artifact ${digest.slice(0, 12)} can't be had from ${path}: ${errorText(cause)}`, {
    cause,
  })
}
