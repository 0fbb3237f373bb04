import { createPrivateKey, generateKeyPairSync, randomBytes, randomUUID, type KeyObject } from "node:crypto"
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import type { AgentFrame, ServerFrame } from "@signalbox/contracts/fleet/agent-protocol"
import { fleetOperations } from "@signalbox/contracts/fleet/operations"
import { permissionsOf } from "@signalbox/contracts/identity/roles"
import type { AnyOperation } from "@signalbox/contracts/operation"
import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { FastifyInstance } from "fastify"
import { SignJWT } from "jose"
import { pino } from "pino"
import { expect, vi } from "vitest"
import { WebSocket } from "ws"
import { createEdge } from "../../http/edge.ts"
import type { Executor, ExecutorReport } from "../../router/ports.ts"
import { nowhere } from "../../router/forwarded-call.ts"
import { noGates } from "../../router/gate-ports.ts"
import { noUses } from "../../router/no-uses.fixture.ts"
import { createRouter } from "../../router/router.ts"
import { noRules } from "../../router/rule-ports.ts"
import type { Database } from "../../storage/database.ts"
import { systemClock, systemRandom } from "../../system.ts"
import { createFleetService } from "./service.ts"

/** A server with the fleet alone: real router, real HTTP edge, real WebSockets. Callers are made up by `adminToken`. */
export interface FleetServer {
  readonly url: string
  readonly executor: Executor
  readonly reports: ExecutorReport[]
  call<T = Record<string, unknown>>(operation: string, input: object, options?: CallOptions): Promise<T>
  /** From now on the others take it for gone. */
  lapse(): Promise<void>
  stop(): Promise<void>
}

export interface CallOptions {
  readonly account?: string
  readonly token?: string
  readonly idempotencyKey?: string
}

const adminToken = (account: string) => `administrator-of-${account}`

export async function startFleetServer(options: {
  database: Database
  clock?: Clock
  caFingerprint?: string
}): Promise<FleetServer> {
  const clock = options.clock ?? systemClock
  const logger = pino({ level: process.env["TEST_LOG"] ?? "silent" })
  const operations = new Map<string, AnyOperation>(fleetOperations.map((operation) => [operation.name, operation]))
  const shared = { database: options.database, clock, random: systemRandom, logger }
  const serverId = newId("server", systemClock, systemRandom)
  await setLease(options.database, serverId, "infinity")
  const fleet = createFleetService({
    ...shared,
    serverId,
    tls: options.caFingerprint === undefined ? {} : { caFingerprint: options.caFingerprint },
    publicUrl: "https://signalbox.test:7777",
    tickMilliseconds: 20,
  })
  const handlers = new Map(fleet.service.handlers.map((handler) => [handler.operation.name, handler]))
  const router = createRouter({
    ...shared,
    map: () => ({ version: 1, handlers, remote: new Map(), rules: new Map(), elsewhere: new Set<string>() }),
    operations,
    authenticators: [
      {
        authenticate: ({ token }) => Promise.resolve(/^administrator-of-(\w+)$/.test(token) ? admin(token) : undefined),
      },
      ...fleet.authenticators,
    ],
    rules: noRules,
    gates: noGates,
    uses: noUses,
    elsewhere: nowhere,
    markSecretInput: (text) => text,
  })
  const edge: FastifyInstance = await createEdge({
    ...shared,
    router,
    operations,
    callsPerSecondMax: 10_000,
    documents: new Map(),
  })
  await fleet.service.start?.()
  await edge.listen({ host: "127.0.0.1", port: 0 })
  const url = `http://127.0.0.1:${(edge.server.address() as AddressInfo).port}`
  const reports: ExecutorReport[] = []
  fleet.executor.listen((report) => void reports.push(report))
  return {
    url,
    executor: fleet.executor,
    reports,
    call: (operation, input, call = {}) => post(url, operation, { input, ...call }),
    lapse: () => setLease(options.database, serverId, "-infinity"),
    async stop() {
      await fleet.service.stop?.()
      await edge.close()
    },
  }
}

async function setLease(database: Database, serverId: string, until: string): Promise<void> {
  await database.query(
    `insert into server (id, worker_ids, leased_until) values ($1, '{}', $2::timestamptz)
     on conflict (id) do update set leased_until = excluded.leased_until`,
    [serverId, until],
  )
}

function admin(token: string) {
  return {
    account: token.replace("administrator-of-", ""),
    principal: "key:key_test",
    kind: "key" as const,
    roles: ["admin" as const],
    permissions: permissionsOf(["admin"]),
  }
}

async function post<T>(url: string, operation: string, call: CallOptions & { input: object }): Promise<T> {
  const response = await fetch(`${url}/v1/operations/${operation}`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${call.token ?? adminToken(call.account ?? "main")}`,
      "content-type": "application/json",
      "idempotency-key": call.idempotencyKey ?? randomUUID(),
    },
    body: JSON.stringify(call.input),
  })
  const body = (await response.json()) as { code?: string; detail?: string }
  if (!response.ok) throw new CallError(response.status, body.code ?? "no code", body.detail ?? JSON.stringify(body))
  return body as T
}

export class CallError extends Error {
  readonly status: number
  readonly code: string
  constructor(status: number, code: string, detail: string) {
    super(`${status} ${code}: ${detail}`)
    this.status = status
    this.code = code
  }
}

export async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "no error",
    (error: unknown) => (error as { code?: string }).code ?? String(error),
  )
}

export interface Enrolled {
  readonly node: string
  readonly name: string
  readonly account: string
  readonly tags: Record<string, string>
}

/** What a machine needs to know of a server: a whole one does too. */
export type Reachable = Pick<FleetServer, "url" | "call">

/** A machine with its key, as the agent is one; says exactly what a test tells it to. */
export class TestMachine {
  readonly privateKey: KeyObject
  readonly publicKey: string
  readonly machineId: string
  node = ""
  account = "main"

  constructor(like?: { privateKey: KeyObject; publicKey: string; node: string; account: string }) {
    const pair = generateKeyPairSync("ed25519")
    this.privateKey = like?.privateKey ?? createPrivateKey(pair.privateKey.export({ format: "pem", type: "pkcs8" }))
    this.publicKey = like?.publicKey ?? pair.publicKey.export({ format: "der", type: "spki" }).toString("base64")
    this.machineId = randomBytes(16).toString("hex")
    this.node = like?.node ?? ""
    this.account = like?.account ?? "main"
  }

  /** Enrols with a key's text. */
  async enroll(server: Reachable, key: string, more: { name?: string; tags?: Record<string, string> } = {}) {
    const input = {
      name: more.name ?? `machine-${this.machineId.slice(0, 8)}`,
      machineId: this.machineId,
      publicKey: this.publicKey,
      tags: more.tags ?? {},
    }
    const enrolled = await server.call<Enrolled>("nodes.enroll", input, { token: key })
    this.node = enrolled.node
    this.account = enrolled.account
    return enrolled
  }

  token(claims: Record<string, unknown> = {}, header: { kid?: string } = {}): Promise<string> {
    const now = Math.floor(Date.now() / 1000)
    const all = {
      sub: this.node,
      account: this.account,
      aud: "signalbox",
      iat: now,
      exp: now + 30,
      jti: randomUUID(),
      machineId: this.machineId,
      ...claims,
    }
    return new SignJWT(all).setProtectedHeader({ alg: "EdDSA", kid: header.kid ?? this.node }).sign(this.privateKey)
  }

  /** A connection on which nothing was said yet. @throws CallError where the upgrade is refused */
  async dial(server: Reachable, token?: string): Promise<TestSession> {
    return TestSession.dial(server, token ?? (await this.token()))
  }

  async connect(server: Reachable, hello: Partial<Extract<AgentFrame, { type: "hello" }>> = {}): Promise<TestSession> {
    const session = await this.dial(server)
    session.send({
      type: "hello",
      protocol: 1,
      agentVersion: "0.1.0",
      machineId: this.machineId,
      bootId: "boot-1",
      open: [],
      ...hello,
    })
    await session.waitFor("welcome")
    return session
  }
}

export class TestSession {
  readonly socket: WebSocket
  readonly frames: ServerFrame[] = []
  pings = 0
  closed: { code: number; reason: string } | undefined

  private constructor(socket: WebSocket) {
    this.socket = socket
    socket.on("message", (data) => this.frames.push(JSON.parse((data as Buffer).toString("utf8")) as ServerFrame))
    socket.on("ping", () => (this.pings += 1))
    socket.on("close", (code, reason) => (this.closed = { code, reason: reason.toString() }))
    socket.on("error", () => undefined)
  }

  static async dial(server: Reachable, token: string): Promise<TestSession> {
    const socket = new WebSocket(`${server.url.replace("http", "ws")}/v1/sessions`, {
      headers: { authorization: `Bearer ${token}` },
    })
    const session = new TestSession(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once("open", () => resolve())
      socket.once("error", reject)
      socket.once("unexpected-response", (_, response) => {
        let text = ""
        response.on("data", (part: Buffer) => (text += part.toString("utf8")))
        response.on("end", () => {
          const { code = "no code", detail = text } = JSON.parse(text) as { code?: string; detail?: string }
          reject(new CallError(response.statusCode ?? 0, code, detail))
        })
      })
    })
    return session
  }

  send(frame: AgentFrame | string | object): void {
    this.socket.send(typeof frame === "string" ? frame : JSON.stringify(frame))
  }

  /** The first frame of a type that has not been taken yet. */
  async waitFor<T extends ServerFrame["type"]>(type: T): Promise<Extract<ServerFrame, { type: T }>> {
    return vi.waitFor(
      () => {
        const index = this.frames.findIndex((frame) => frame.type === type)
        if (index < 0)
          throw new Error(`no ${type} yet; got ${JSON.stringify(this.frames)}, ${JSON.stringify(this.closed)}`)
        return this.frames.splice(index, 1)[0] as Extract<ServerFrame, { type: T }>
      },
      { timeout: 10_000, interval: 5 },
    )
  }

  async waitForEnd(): Promise<{ code: number; reason: string }> {
    if (this.closed === undefined) await once(this.socket, "close")
    expect(this.closed).toBeDefined()
    return this.closed ?? { code: 0, reason: "" }
  }

  end(): void {
    this.socket.terminate()
  }
}

/** An enrolment key for so many machines. */
export async function makeEnrollmentKey(server: FleetServer, input: object = {}, account = "main"): Promise<string> {
  const made = await server.call<{ key: string }>("enrollment-keys.create", { usesMax: 1000, ...input }, { account })
  return made.key
}

export async function enrollMachine(
  server: FleetServer,
  more: { name?: string; account?: string; tags?: Record<string, string> } = {},
): Promise<TestMachine> {
  const key = await makeEnrollmentKey(server, { tags: more.tags ?? {} }, more.account)
  const machine = new TestMachine()
  await machine.enroll(server, key, more.name === undefined ? {} : { name: more.name })
  return machine
}

export async function eventTypes(database: Database, nodeId: string): Promise<string[]> {
  const rows = await database.query<{ type: string }>(
    "select type from outbox where aggregate_id = $1 order by subject_version",
    [nodeId],
  )
  return rows.map((row) => row.type)
}
