/** Notifications on a real database, job queue, router, secrets and egress; receivers of mail and HTTP on loopback. */
import { randomBytes } from "node:crypto"
import { createServer, type IncomingMessage, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as delay } from "node:timers/promises"
import type { CallInputOf, OperationDeclaration, OutputOf } from "@signalbox/contracts/operation"
import { secretsPut } from "@signalbox/contracts/secrets/operations"
import { executionsGet } from "@signalbox/contracts/workflows/operations"
import { AppError } from "@signalbox/kernel/app-error"
import { newId } from "@signalbox/kernel/id"
import type { RoleName } from "@signalbox/contracts/identity/roles"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { pino } from "pino"
import { SMTPServer } from "smtp-server"
import type { z } from "zod"
import { createEgress } from "../../egress/egress.ts"
import { parseHostRule } from "../../egress/host-rule.ts"
import { ensureServerTls } from "../../http/certificate-authority.ts"
import { onRead, type Handler } from "../../router/handler.ts"
import { nowhere } from "../../router/forwarded-call.ts"
import { noGates } from "../../router/gate-ports.ts"
import { noUses } from "../../router/no-uses.fixture.ts"
import { createRouter } from "../../router/router.ts"
import { noRules } from "../../router/rule-ports.ts"
import { startBackgroundQueue } from "../../storage/background-queue.ts"
import type { Database } from "../../storage/database.ts"
import { appendEvents, type Expander } from "../../storage/outbox.ts"
import { systemClock, systemRandom } from "../../system.ts"
import { createSecretsService } from "../secrets/service.ts"
import type { NotificationsOptions } from "./options.ts"
import { sealedMessages } from "./sealed-messages.ts"
import { createNotificationsService } from "./service.ts"

export interface NotificationsFixture {
  readonly test: TestDatabase
  call<O extends OperationDeclaration<z.ZodObject, z.ZodType>>(
    operation: O,
    input: CallInputOf<O>,
    account?: string,
  ): Promise<OutputOf<O>>
  /** As a service that tells somebody of what it does. */
  send<O extends OperationDeclaration<z.ZodObject, z.ZodType>>(
    operation: O,
    input: CallInputOf<O>,
  ): Promise<OutputOf<O>>
  /** What executions.get answers for an execution that exists. */
  readonly executions: Map<string, OutputOf<typeof executionsGet>>
  /** Writes an event as a service would; gives its id. */
  emit(type: string, event?: { subject?: string; data?: object; account?: string }): Promise<string>
  stop(): Promise<void>
}

export const signingKey = `whsec_${Buffer.alloc(32, 9).toString("base64")}`
const roles: readonly RoleName[] = ["admin"]

async function startSecrets(database: Database) {
  return await createSecretsService({
    ...{ database, clock: systemClock, random: systemRandom, logger: pino({ level: "silent" }) },
    masterKey: {
      place: "memory",
      read: () => Promise.resolve(Buffer.alloc(32, 7)),
      create: () => Promise.reject(new Error()),
    },
    references: { kinds: [], environment: {} },
  })
}

export async function startNotifications(
  options: Partial<NotificationsOptions> & { readonly expanders?: ReadonlyMap<string, Expander> } = {},
): Promise<NotificationsFixture> {
  const test = await createTestDatabase()
  const { database, connection } = test
  for (const account of ["main", "other"])
    await database.query("insert into accounts (account, title) values ($1, $1) on conflict do nothing", [account])
  const logger = pino({ level: process.env["TEST_LOG"] ?? "silent" }, pino.destination(2))
  const { clock = systemClock, random = systemRandom } = options
  const handlers = new Map<string, Handler>()
  const secrets = await startSecrets(database)
  const sealer = secrets.sealerFor(sealedMessages)
  const map = () => ({ version: 1, handlers, remote: new Map(), rules: new Map(), elsewhere: new Set<string>() })
  const router = createRouter({
    ...{ database, clock, random, map, operations: new Map(), authenticators: [] },
    ...{ rules: noRules, gates: noGates, uses: noUses, elsewhere: nowhere, markSecretInput: secrets.markInput },
  })
  const loopback = parseHostRule("127.0.0.1")
  const egress = createEgress({ allow: loopback ? [loopback] : [], privateAllowed: true })
  const { service } = createNotificationsService({
    ...{ database, clock, random, logger, operations: router, secrets: secrets.reader, sealer, egress },
    publicUrl: "https://signalbox.test",
    ...{ retryPausesMilliseconds: [50, 50, 50], deliveryScanMilliseconds: 20 },
    ...options,
  })
  const executions = new Map<string, OutputOf<typeof executionsGet>>()
  const getExecution = onRead(executionsGet, ({ execution }) => {
    const found = executions.get(execution)
    return found ? Promise.resolve(found) : Promise.reject(new AppError("executions.not-found", "no such execution"))
  })
  for (const handler of [getExecution, ...secrets.service.handlers, ...service.handlers])
    handlers.set(handler.operation.name, handler)
  const background = await startBackgroundQueue({
    ...{ connection, database, serverId: `srv_${randomBytes(6).toString("hex")}`, scanMilliseconds: 20 },
    consumers: service.consumers ?? [],
    ...(options.expanders === undefined ? {} : { expanders: options.expanders }),
  })
  service.workers?.start()
  const call: NotificationsFixture["call"] = (operation, input, account = "main") =>
    router.call(operation, input, { account, service: "tests", roles, cause: "req_test", depth: 0 })
  await call(secretsPut, { name: "hook-key", value: signingKey })
  let version = 0
  return {
    test,
    call,
    send: (operation, input) =>
      router.call(operation, input, {
        account: "main",
        service: "tests",
        roles: ["notifier"],
        cause: "req_test",
        depth: 0,
      }),
    executions,
    async emit(type, { subject = "exe_1", data = {}, account = "main" } = {}) {
      const id = newId("event", clock, random)
      version += 1
      const event = { id, account, aggregateId: subject, type, subject, subjectVersion: version, cause: "req_1" }
      const more = { causedBy: "req_1", depth: 1, principal: "system:workflows", data }
      await database.transaction((tx) => appendEvents(tx, [{ ...event, ...more }]))
      return id
    },
    async stop() {
      await service.workers?.stop()
      await background.stop()
      await egress.close()
      await test.drop()
    },
  }
}

/** Waits until `probe` gives something. */
export async function eventually<T>(probe: () => Promise<T | undefined | false> | T | undefined | false): Promise<T> {
  const end = Date.now() + 30_000
  for (;;) {
    const found = await probe()
    if (found !== undefined && found !== false) return found
    if (Date.now() > end) throw new Error("nothing came within 30 s")
    await delay(20)
  }
}

export interface ReceivedCall {
  readonly path: string
  readonly headers: Record<string, string>
  readonly body: string
}

interface HookAnswer {
  readonly status: number
  readonly headers?: Record<string, string>
}

/** An HTTP receiver. `answer` may be changed at any time. */
export class HookReceiver {
  answer: (call: ReceivedCall) => HookAnswer | Promise<HookAnswer> = () => ({ status: 204 })
  readonly calls: ReceivedCall[] = []
  readonly #server: Server

  constructor() {
    this.#server = createServer((request, response) => {
      void readCall(request).then(async (call) => {
        this.calls.push(call)
        const { status, headers } = await this.answer(call)
        response.writeHead(status, headers).end()
      })
    })
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

async function readCall(request: IncomingMessage): Promise<ReceivedCall> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]))
  return { path: request.url ?? "", headers, body: Buffer.concat(chunks).toString() }
}

export interface ReceivedMail {
  readonly from: string
  readonly to: readonly string[]
  readonly text: string
  readonly isEncrypted: boolean
  readonly user: string | undefined
}

/** A mail server with STARTTLS, a certificate of its own authority, and a password. */
export class MailReceiver {
  readonly mails: ReceivedMail[] = []
  /** Recipients that are refused. */
  refused: ReadonlySet<string> = new Set()
  url = ""
  caPem = ""
  #server: SMTPServer | undefined

  async start(directory: string, options: { readonly startTls?: boolean } = {}): Promise<void> {
    const tls = await ensureServerTls({ directory, names: ["127.0.0.1", "localhost"], clock: systemClock })
    this.caPem = tls.caPem
    this.#server = new SMTPServer({
      key: tls.keyPem,
      cert: tls.certPem,
      ...(options.startTls === false ? { disabledCommands: ["STARTTLS"] } : {}),
      authOptional: true,
      onAuth: ({ username, password }, _session, done) =>
        password === "mail password" ? done(null, { user: username ?? "" }) : done(new Error("wrong password")),
      onRcptTo: ({ address }, _session, done) =>
        this.refused.has(address) ? done(Object.assign(new Error("no such mailbox"), { responseCode: 550 })) : done(),
      onData: (stream, session, done) => {
        const chunks: Buffer[] = []
        stream.on("data", (chunk: Buffer) => chunks.push(chunk))
        stream.on("end", () => {
          const { mailFrom, rcptTo } = session.envelope
          this.mails.push({
            from: mailFrom === false ? "" : mailFrom.address,
            to: rcptTo.map(({ address }) => address),
            text: Buffer.concat(chunks).toString(),
            isEncrypted: session.secure,
            user: session.user as string | undefined,
          })
          done()
        })
      },
    })
    const server = this.#server
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()))
    const { port } = server.server.address() as AddressInfo
    this.url = `smtp://signalbox:mail%20password@127.0.0.1:${port}`
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => (this.#server ? this.#server.close(() => resolve()) : resolve()))
  }
}
