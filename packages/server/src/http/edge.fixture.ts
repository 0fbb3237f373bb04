import { generateKeyPairSync } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect, type AddressInfo } from "node:net"
import type { AnyOperation } from "@signalbox/contracts/operation"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { pino, type DestinationStream } from "pino"
import { compose, type Composition } from "../compose.ts"
import type { CompositionOptions } from "../composition/options.ts"
import type { BlobStore } from "../storage/blob-store.ts"
import { openDirectoryBlobStore } from "../storage/directory-blob-store.ts"
import { systemClock, systemRandom } from "../system.ts"
import { publicDocuments } from "./documents.ts"
import { createEdge } from "./edge.ts"

/** A whole server over plain HTTP on a free port, on a database of its own; and callers of two accounts. */
export interface ServerFixture {
  readonly url: string
  readonly port: number
  readonly test: TestDatabase
  readonly composition: Composition
  /** The installation's administrator, of account `main`. */
  readonly platformKey: string
  call(key: string | undefined, ...request: [method: string, path: string, body?: unknown]): Promise<Answer>
  /** Sends bytes as they are and gives what comes back. */
  raw(text: string): Promise<string>
  /** Ends this server alone, as a restart does; `stop` of the first one still has to be called. */
  halt(): Promise<void>
  /** Another server over the same database and the same blobs, which `stop` of the first one ends too. */
  another(more?: ServerFixtureOptions): Promise<ServerFixture>
  stop(): Promise<void>
}

export interface Answer {
  readonly status: number
  readonly body: Record<string, unknown> & { code?: string }
  readonly headers: Headers
}

let sequence = 0
const blobsBytesMax = 64 * 1024 * 1024

const masterKeyInMemory = {
  place: "memory",
  read: () => Promise.resolve(Buffer.alloc(32, "key")),
  create: () => Promise.reject(new Error("the key is there")),
}

export interface ServerFixtureOptions extends Partial<
  Pick<
    CompositionOptions,
    | "clock"
    | "masterKey"
    | "secretReferences"
    | "mail"
    | "executor"
    | "egress"
    | "sessions"
    | "passwordCost"
    | "destination"
    | "signingKey"
    | "trustedSigners"
  >
> {
  readonly callsPerSecondMax?: number
  /** Takes the log, every level of it, instead of nobody. */
  readonly log?: DestinationStream
}

/** An input for operations that wait, which by themselves do so for half a minute. */
export function shortestWait({ input }: AnyOperation): { seconds?: number } {
  return "seconds" in input.shape ? { seconds: 1 } : {}
}

export async function startServerFixture(options: ServerFixtureOptions = {}): Promise<ServerFixture> {
  const test = await createTestDatabase()
  const directory = await mkdtemp(join(tmpdir(), "signalbox blobs "))
  const store = await openDirectoryBlobStore({ directory, bytesMax: blobsBytesMax })
  const servers: ServerFixture[] = []
  const start = async (more: ServerFixtureOptions = {}): Promise<ServerFixture> => {
    const id = `srv_test${servers.length === 0 ? "" : servers.length + 1}`
    const server = await startServerOn(
      { ...options, ...more },
      { test, store, id, platformKey: servers[0]?.platformKey ?? "" },
    )
    const stop = async (): Promise<void> => {
      for (const each of servers) await each.halt()
      await test.drop()
      await rm(directory, { recursive: true })
    }
    const shown = { ...server, another: start, stop }
    servers.push(shown)
    return shown
  }
  return await start()
}

interface Place {
  readonly test: TestDatabase
  readonly store: BlobStore
  readonly id: string
  readonly platformKey: string
}

async function startServerOn(
  options: ServerFixtureOptions,
  { test, store, id, platformKey: knownKey }: Place,
): Promise<Omit<ServerFixture, "another" | "stop">> {
  const { log, clock = systemClock, callsPerSecondMax = 100_000, ...more } = options
  const logger = log
    ? pino({ level: "trace" }, log)
    : pino({ level: process.env["TEST_LOG"] ?? "silent" }, pino.destination(2))
  let platformKey = knownKey
  const composition = await compose({
    ...{ database: test.database, connection: test.connection },
    ...{ clock, random: systemRandom, logger, serverId: id },
    publicUrl: "http://127.0.0.1",
    blobs: { store, bytesMax: blobsBytesMax },
    masterKey: masterKeyInMemory,
    ...more,
    keepFirstKey: (key) => {
      platformKey = key
      return Promise.resolve()
    },
  })
  const edge = await createEdge({
    router: composition.router,
    receiver: composition.receiver,
    operations: composition.operations,
    clock,
    random: systemRandom,
    logger,
    callsPerSecondMax,
    documents: publicDocuments({ operations: composition.operations, version: "0.0.0", database: test.database }),
    answerPages: true,
  })
  await edge.listen({ host: "127.0.0.1", port: 0 })
  const { port } = edge.server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`
  let halting: Promise<void> | undefined
  return {
    url,
    port,
    test,
    composition,
    platformKey,
    async call(key, ...[method, path, body]) {
      const response = await fetch(`${url}${path}`, {
        method,
        headers: {
          ...(key ? { authorization: `Bearer ${key}` } : {}),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          "idempotency-key": `fixture-${++sequence}-${Date.now()}`,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await response.text()
      return { status: response.status, body: parse(text), headers: response.headers }
    },
    raw: (text) => exchange(port, text),
    halt() {
      halting ??= edge.close().then(() => composition.stop())
      return halting
    },
  }
}

function parse(text: string): Answer["body"] {
  try {
    return JSON.parse(text) as Answer["body"]
  } catch {
    return { text }
  }
}

function exchange(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text))
    let answer = ""
    socket.setTimeout(5000, () => socket.destroy())
    socket.on("data", (chunk) => {
      answer += chunk.toString()
      socket.end()
    })
    socket.on("close", () => resolve(answer))
    socket.on("error", reject)
  })
}

/** A machine's public key as it is sent at enrolment. */
export function newPublicKey(): string {
  const { publicKey } = generateKeyPairSync("ed25519")
  return publicKey.export({ type: "spki", format: "der" }).toString("base64")
}
