import { createPublicKey, generateKeyPairSync, randomBytes, type KeyObject } from "node:crypto"
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { createServer, type IncomingMessage, type Server } from "node:http"
import { createServer as createTlsServer } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  agentFrame,
  type AgentFrame,
  type AttemptPhase,
  serverFrame,
  type ServerFrame,
  type StepOrder,
  type TaskOrder,
} from "@signalbox/contracts/fleet/agent-protocol"
import { encodeBase32 } from "@signalbox/kernel/id"
import { jwtVerify } from "jose"
import { type WebSocket, WebSocketServer } from "ws"
import { writeIdentity, writePrivateFile } from "./agent-identity.ts"
import { testCertificate, testCertificateAuthority, testCertificateKey } from "./certificates.fixture.ts"

type FrameOf<Type extends AgentFrame["type"]> = Extract<AgentFrame, { type: Type }>

const waitMilliseconds = 20_000

/** A server that speaks the protocol over loopback, plain or TLS, checks every frame by its schema, and keeps them all. */
export class ProtocolServer {
  readonly frames: AgentFrame[] = []
  readonly publicKey: KeyObject
  /** What the next handshakes are answered with, where not 101. */
  refuseWith: number | undefined
  refusals = 0
  sessions = 0
  acknowledges = true
  /** Its answers to what it is asked to perform. */
  performs: ((request: FrameOf<"step-request">) => ServerFrame) | undefined
  /** Added to this machine's time in `welcome`. */
  clockAhead = 0
  port = 0
  #http: Server | undefined
  #sockets: WebSocketServer | undefined
  #socket: WebSocket | undefined
  #waiters = new Set<() => void>()
  #failure: Error | undefined

  readonly #tls: boolean

  constructor(publicKey: KeyObject, tls: boolean) {
    this.publicKey = publicKey
    this.#tls = tls
  }

  async listen(): Promise<void> {
    this.#http = this.#tls ? createTlsServer({ cert: testCertificate, key: testCertificateKey }) : createServer()
    this.#sockets = new WebSocketServer({ noServer: true, maxPayload: 4 * 1024 * 1024 })
    const sockets = this.#sockets
    this.#http.on("upgrade", (request, socket, head) => {
      void this.#mayOpen(request).then((allowed) => {
        if (allowed) return sockets.handleUpgrade(request, socket, head, (opened) => this.#serve(opened))
        this.refusals++
        const problem = '{"code":"fleet.agent-identity-refused"}'
        const headers = `date: ${new Date().toUTCString()}\r\ncontent-length: ${problem.length}\r\n\r\n`
        socket.end(`HTTP/1.1 ${this.refuseWith ?? 401} Refused\r\n${headers}${problem}`)
        this.#notify()
      })
    })
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#http.listen(this.port, "127.0.0.1", resolve)
    await promise
    this.port = (this.#http.address() as AddressInfo).port
  }

  async #mayOpen(request: IncomingMessage): Promise<boolean> {
    if (this.refuseWith !== undefined || request.url !== "/v1/sessions") return false
    const token = request.headers.authorization?.replace(/^Bearer /, "") ?? ""
    const verified = await jwtVerify(token, this.publicKey, {
      audience: "signalbox",
      subject: testNode,
      maxTokenAge: 60,
      // As the server has it: the two clocks differ by how long a message takes.
      clockTolerance: 30,
    })
    const { payload, protectedHeader } = verified
    return (
      protectedHeader.kid === testNode && payload["account"] === "acc_test" && typeof payload["machineId"] === "string"
    )
  }

  #serve(socket: WebSocket): void {
    this.#socket = socket
    socket.on("message", (data: Buffer) => {
      const parsed = agentFrame.safeParse(JSON.parse(data.toString("utf8")))
      if (!parsed.success) this.#failure = new Error(`a frame breaks the contract: ${parsed.error.message}`)
      else this.#take(parsed.data)
      this.#notify()
    })
    socket.on("close", () => this.#notify())
  }

  #take(frame: AgentFrame): void {
    this.frames.push(frame)
    if (frame.type === "hello") {
      this.sessions++
      const now = new Date(Date.now() + this.clockAhead).toISOString()
      this.send({ type: "welcome", session: `ses_${this.sessions}`, node: testNode, heartbeatSeconds: 1, now })
    }
    if (frame.type === "step-request" && this.performs) this.send(this.performs(frame))
    if (!this.acknowledges) return
    if (frame.type === "task-finished") this.send({ type: "acknowledge", key: frame.key, phase: "task" })
    if (frame.type === "rollback-finished") this.send({ type: "acknowledge", key: frame.key, phase: "rollback" })
  }

  send(frame: ServerFrame): void {
    this.#socket?.send(JSON.stringify(serverFrame.parse(frame)))
  }

  sendText(text: string): void {
    this.#socket?.send(text)
  }

  start(key: string, order: TaskOrder, startInMilliseconds = 60_000): void {
    const startBefore = new Date(Date.now() + this.clockAhead + startInMilliseconds).toISOString()
    this.send({ type: "start", key, startBefore, order })
  }

  /** Drops the connection without a close frame, as a dead server does. */
  cut(): void {
    this.#socket?.terminate()
  }

  /** Ends the session as a server does that restarts. */
  leave(): void {
    this.#socket?.close(1012)
  }

  /** As the death of the server: nobody listens any more. The port stays the same for a later `listen`. */
  async close(): Promise<void> {
    for (const client of this.#sockets?.clients ?? []) client.terminate()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#http?.close(() => resolve())
    await promise
  }

  #notify(): void {
    for (const waiter of this.#waiters) waiter()
  }

  /** Resolves when the condition holds; looked at after each frame and each change of a connection. */
  async until<T>(find: () => T | undefined | false, what = "a condition"): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const look = () => {
      if (this.#failure) return reject(this.#failure)
      const found = find()
      if (found !== undefined && found !== false) resolve(found)
    }
    const timer = setTimeout(() => {
      const seen = this.frames.map((frame) => JSON.stringify(frame).slice(0, 200)).slice(-20)
      reject(new Error(`waited too long for ${what}; the last frames: \n${seen.join("\n")}`))
    }, waitMilliseconds)
    this.#waiters.add(look)
    look()
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      this.#waiters.delete(look)
    }
  }

  async frame<Type extends AgentFrame["type"]>(
    type: Type,
    matches: (frame: FrameOf<Type>) => boolean = () => true,
  ): Promise<FrameOf<Type>> {
    return await this.until(() => this.all(type).find(matches), type)
  }

  all<Type extends AgentFrame["type"]>(type: Type): FrameOf<Type>[] {
    return this.frames.filter((frame): frame is FrameOf<Type> => frame.type === type)
  }

  async finished(key: string) {
    return (await this.frame("task-finished", (frame) => frame.key === key)).outcome
  }

  async rolledBack(key: string) {
    return (await this.frame("rollback-finished", (frame) => frame.key === key)).outcome
  }

  async session(number = 1): Promise<void> {
    await this.until(() => this.sessions >= number, `session ${number}`)
  }

  count(type: "accepted" | "started", key: string, phase: AttemptPhase = "task"): number {
    return this.all(type).filter((frame) => frame.key === key && frame.phase === phase).length
  }
}

export const testNode = `nod_${"0".repeat(26)}`

export function newKey(ordinal = 0, attempt = 1): string {
  return `exe_${encodeBase32(randomBytes(16))}/${ordinal}/${attempt}`
}

export function shell(text: string, settings: Partial<StepOrder> = {}): StepOrder {
  return {
    name: "step",
    command: { shell: text },
    environment: {},
    timeoutMilliseconds: 30_000,
    outputKeptBytes: 4096,
    attemptsMax: 1,
    retryDelayMilliseconds: 0,
    ...settings,
  }
}

export function orderOf(steps: StepOrder[], save: string[] = [], timeoutMilliseconds = 60_000): TaskOrder {
  return { save, steps, timeoutMilliseconds }
}

export interface TestMachine {
  /** Has a space in its name, as everything must work there. */
  readonly dataDirectory: string
  readonly root: string
  readonly server: ProtocolServer
  remove(): Promise<void>
}

/** A server, and the directories of an agent that is enrolled with it. */
export async function makeMachine(tls = false): Promise<TestMachine> {
  const base = await mkdtemp(join(tmpdir(), "signalbox agent "))
  const dataDirectory = join(base, "data")
  const root = join(base, "root")
  await mkdir(dataDirectory, { mode: 0o700 })
  await mkdir(root)
  const { privateKey } = generateKeyPairSync("ed25519")
  const server = new ProtocolServer(createPublicKey(privateKey), tls)
  await server.listen()
  await writePrivateFile(dataDirectory, "agent-key.pem", privateKey.export({ type: "pkcs8", format: "pem" }))
  await writePrivateFile(dataDirectory, "ca.pem", testCertificateAuthority)
  await writeIdentity(dataDirectory, {
    ...{ version: 1, node: testNode, name: "test-node", account: "acc_test" },
    serverUrl: `${tls ? "https" : "http"}://127.0.0.1:${server.port}`,
    ...(tls && { caFile: "ca.pem" }),
  })
  const remove = async () => {
    await server.close()
    await rm(base, { recursive: true, force: true })
  }
  return { dataDirectory, root, server, remove }
}

/** Polls what no frame announces (a file, a process). */
export async function eventually<T>(find: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  const deadline = Date.now() + waitMilliseconds
  for (;;) {
    const found = await find()
    if (found !== undefined && found !== false) return found
    if (Date.now() > deadline) throw new Error(`waited too long for ${find.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
