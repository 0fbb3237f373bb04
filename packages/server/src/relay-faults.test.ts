import { parseAttemptKey } from "@signalbox/contracts/fleet/agent-protocol"
import { SeededRandom } from "@signalbox/engine/simulator/seeded-random"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { ExecutorOrder, ExecutorReport } from "./router/ports.ts"
import { claimSessions, endLapsedSessions } from "./services/fleet/directory-store.ts"
import { OrderRelay } from "./services/fleet/order-relay.ts"
import { SessionExecutor } from "./services/fleet/session-executor.ts"
import type { AgentSession } from "./services/fleet/session.ts"
import { ReportInbox } from "./services/workflows/report-inbox.ts"
import type { Database, Sql } from "./storage/database.ts"

/**
 * The relay's own parts and a real database, under everything that may go wrong between them: notices that are lost, come
 * twice or late, statements that fail before they are carried out or whose answer is lost, nodes that change servers, and
 * servers that end at any moment. What an agent and an owner promise is played here as their documents say.
 */
const firstSeed = Number(process.env["RELAY_SEED"] ?? Math.floor(Math.random() * 1_000_000))
const roundsCount = 6
const sizes = { servers: 3, nodes: 5, executions: 3, orders: 40, disturbances: 25 } as const
const settleMilliseconds = Number(process.env["RELAY_WAIT"] ?? 60_000)
const plainSealer = { seal: (_: unknown, text: string) => text, unseal: (_: unknown, text: string) => text }
const clock = { now: () => Date.now() }
const random = { bytes: (count: number) => crypto.getRandomValues(new Uint8Array(count)) }
const logger = { info: () => undefined, warn: () => undefined }

let test: TestDatabase
beforeAll(async () => {
  test = await createTestDatabase()
})
afterAll(() => test.drop())

type Listener = (payloads: readonly string[] | "missed") => void

function pickOne<T>(chance: SeededRandom, items: readonly T[]): T {
  const item = items[chance.integer(0, items.length - 1)]
  if (item === undefined) throw new Error("there is something to pick from")
  return item
}

/** Notices as the database gives them, at its worst. */
class Notices {
  readonly #listeners = new Map<string, Set<Listener>>()
  readonly #chance: SeededRandom
  isQuiet = false

  constructor(chance: SeededRandom) {
    this.#chance = chance
  }

  notify(channel: string, payload = ""): void {
    const copies = this.isQuiet ? 1 : this.#chance.integer(0, 2)
    for (let copy = 0; copy < copies; copy++)
      setTimeout(
        () => {
          for (const listener of this.#listeners.get(channel) ?? []) listener([payload])
        },
        this.#chance.integer(0, 30),
      )
  }

  subscribe(channel: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(channel) ?? new Set()
    this.#listeners.set(channel, listeners.add(listener))
    return () => void listeners.delete(listener)
  }
}

interface ToldFrame {
  readonly type: string
  readonly key: string
}

interface GivenOrder {
  readonly node: SimulatedNode
  /** The owner that it has now knows that the node has it. */
  isStarted: boolean
  isDone: boolean
  isKilled: boolean
}

interface SimulatedNode {
  readonly id: string
  home: SimulatedServer | undefined
  /** By key: whether it has ended, and is acknowledged. */
  readonly journal: Map<string, "running" | "finished" | "acknowledged">
  /** One for each time that it began. */
  readonly begun: string[]
  readonly killed: Set<string>
}

class SimulatedServer {
  readonly id: string
  readonly executor: SessionExecutor
  readonly #relay: OrderRelay
  readonly #inbox: ReportInbox
  readonly #tick: NodeJS.Timeout
  readonly sessions = new Map<string, AgentSession>()
  isAlive = true

  constructor(world: World, id: string) {
    this.id = id
    const sql = world.faulty(() => this.isAlive)
    this.#relay = new OrderRelay({ sql, clock, logger, sealer: plainSealer, notifier: world.notices, serverId: id })
    const parts = { database: test.database as Database, clock, random, logger }
    this.executor = new SessionExecutor(parts, { find: (nodeId) => this.sessions.get(nodeId) }, this.#relay)
    this.#inbox = new ReportInbox({ sql, notifier: world.notices, onError: () => undefined })
    this.executor.listen((report) => {
      if (!this.isAlive || report.type === "step-request") return
      if (world.ownerOf(report.key) === this) world.hear(this, report)
      else this.#inbox.send(report)
    })
    this.#relay.start()
    this.#tick = setInterval(() => this.isAlive && this.executor.flushAcknowledgements(), 100)
    this.#inbox.start({
      executions: () => (this.isAlive ? world.executionsOf(this) : []),
      hear: (report) => {
        if (world.ownerOf(report.key) === this) world.hear(this, report)
        return world.ownerOf(report.key) === this
      },
      late: () => undefined,
    })
  }

  async end(): Promise<void> {
    this.isAlive = false
    clearInterval(this.#tick)
    this.sessions.clear()
    await Promise.all([this.#relay.stop(), this.#inbox.stop()])
  }
}

class World {
  readonly notices: Notices
  readonly #chance: SeededRandom
  readonly #seed: number
  readonly nodes: SimulatedNode[] = []
  servers: SimulatedServer[] = []
  /** By execution. */
  readonly #owners = new Map<string, SimulatedServer>()
  /** What owners have ordered: which node, and whether they have the end of it. */
  readonly orders = new Map<string, GivenOrder>()
  isQuiet = false
  #started = 0
  #sessions = 0

  constructor(seed: number) {
    this.#seed = seed
    this.#chance = new SeededRandom(seed)
    this.notices = new Notices(this.#chance)
  }

  async open(): Promise<void> {
    for (let number = 0; number < sizes.nodes; number++) {
      const id = `nod_${this.#seed}_${number}`
      await test.database.query(
        `insert into nodes (id, account, name, public_key, enrolled_with, tags) values ($1, 'main', $1, 'k', 'k', '{}')`,
        [id],
      )
      this.nodes.push({ id, home: undefined, journal: new Map(), begun: [], killed: new Set() })
    }
    for (let number = 0; number < sizes.servers; number++) await this.#startServer()
    for (let number = 0; number < sizes.executions; number++) {
      const id = `exe_${String(this.#seed).padStart(13, "0")}${String(number).padStart(13, "0")}`
      await test.database.query(
        `insert into executions (id, account, state, workflow_name, targets_text, targets_count, concurrency, width,
           error_limit, errors_max, counts, rollbacks, version, cause, caused_by, depth, created_by)
         values ($1, 'main', 'running', 't', 't', 1, '1', 1, '1', 1, '{}', '{}', 1, 'r', 'r', 0, 'k')`,
        [id],
      )
      this.#owners.set(id, pickOne(this.#chance, this.servers))
    }
    for (const node of this.nodes) await this.move(node)
  }

  /** Statements that fail before they are carried out, or after, with their answer lost; none of a server that ended. */
  faulty(isAlive: () => boolean): Sql {
    const query: Sql["query"] = async (...statement) => {
      if (!isAlive()) throw new Error("the process has ended")
      if (!this.isQuiet && this.#chance.chance(0.1)) throw new Error("the connection was lost before")
      const rows = await test.database.query(...statement)
      if (!isAlive()) throw new Error("the process has ended")
      if (!this.isQuiet && this.#chance.chance(0.1)) throw new Error("the connection was lost after")
      return rows as never
    }
    return { ...test.database, query }
  }

  ownerOf(key: string): SimulatedServer | undefined {
    return this.#owners.get(parseAttemptKey(key).executionId)
  }

  executionsOf(server: SimulatedServer): string[] {
    return [...this.#owners].flatMap(([id, owner]) => (owner === server ? [id] : []))
  }

  /** The owner has a report: it makes it durable and acknowledges it. */
  hear(server: SimulatedServer, report: ExecutorReport): void {
    const order = this.orders.get(report.key)
    if (!order || !server.isAlive) return
    order.isStarted = true
    if (report.type !== "task-finished") return
    order.isDone = true
    server.executor.acknowledge([{ nodeId: report.nodeId, key: report.key, phase: "task" }])
  }

  async order(): Promise<void> {
    const [execution, owner] = pickOne(this.#chance, [...this.#owners])
    const node = pickOne(this.#chance, this.nodes)
    const ordinal = this.orders.size
    const key = `${execution}/${ordinal}/1`
    await test.database.query(
      "insert into execution_targets (execution_id, ordinal, account, node_id, node_name) values ($1, $2, 'main', $3, 'n')",
      [execution, ordinal, node.id],
    )
    this.orders.set(key, { node, isStarted: false, isDone: false, isKilled: false })
    owner.executor.dispatch([startOf(node, key)])
  }

  kill(): void {
    const open = [...this.orders].filter(([, { isDone }]) => !isDone)
    if (open.length === 0) return
    const [key, order] = pickOne(this.#chance, open)
    order.isKilled = true
    this.ownerOf(key)?.executor.dispatch([killOf(order.node, key)])
  }

  /** The node ends what runs on it. */
  work(): void {
    const node = pickOne(this.#chance, this.nodes)
    for (const [key, state] of node.journal) if (state === "running") this.#finish(node, key)
  }

  async disturb(): Promise<void> {
    if (this.#chance.chance(0.3)) await this.#crash(pickOne(this.#chance, this.servers))
    else await this.move(pickOne(this.#chance, this.nodes))
  }

  /** A node gives its session up and opens one, wherever. */
  async move(node: SimulatedNode): Promise<void> {
    const before = node.home
    node.home = undefined
    if (before) this.#closeSession(before, node)
    const home = pickOne(this.#chance, this.servers)
    const id = `ses_${this.#seed}_${++this.#sessions}`
    await claimSessions(test.database, home.id, [{ account: "main", nodeId: node.id, sessionId: id }])
    if (!home.isAlive) return
    const session = { identity: { id, nodeId: node.id, account: "main", cause: "r" }, isOpen: true } as AgentSession
    session.send = (frame) => {
      // What a node is told reaches it a moment later, if this session is still its own.
      this.#later(() => home.sessions.get(node.id) === session && this.#tell(node, frame as ToldFrame))
      return true
    }
    node.home = home
    home.sessions.set(node.id, session)
    const open = [...node.journal].map(([key, state]) => ({
      key,
      phase: "task" as const,
      state: state === "running" ? ("running" as const) : ("finished" as const),
    }))
    home.executor.opened(session, { open } as never)
    this.repeat(node)
  }

  /** What is not acknowledged is said again. */
  repeat(node: SimulatedNode): void {
    for (const [key, state] of node.journal) if (state === "finished") this.#say(node, key)
  }

  /** From here on nothing goes wrong. */
  async settle(): Promise<void> {
    this.isQuiet = true
    this.notices.isQuiet = true
    for (const node of this.nodes) if (!node.home) await this.move(node)
  }

  async close(): Promise<void> {
    for (const server of this.servers) await server.end()
  }

  #closeSession(server: SimulatedServer, node: SimulatedNode): void {
    const session = server.sessions.get(node.id)
    server.sessions.delete(node.id)
    if (session && server.isAlive) server.executor.closed(session)
  }

  async #startServer(): Promise<void> {
    const id = `srv_${this.#seed}_${++this.#started}`
    await test.database.query("insert into server (id, worker_ids, leased_until) values ($1, '{}', 'infinity')", [id])
    this.servers.push(new SimulatedServer(this, id))
  }

  /** It ends between two statements; another one takes its executions over and gives all their open orders again. */
  async #crash(server: SimulatedServer): Promise<void> {
    this.servers = this.servers.filter((other) => other !== server)
    const own = this.executionsOf(server)
    const stranded = this.nodes.filter(({ home }) => home === server)
    await server.end()
    await test.database.query("update server set leased_until = '-infinity' where id = $1", [server.id])
    await endLapsedSessions(test.database, {}, 100)
    await this.#startServer()
    for (const execution of own) {
      const next = pickOne(this.#chance, this.servers)
      this.#owners.set(execution, next)
      for (const [key, order] of this.orders) {
        if (order.isDone || !key.startsWith(execution)) continue
        order.isStarted = false
        const { node, isKilled } = order
        next.executor.dispatch([startOf(node, key), ...(isKilled ? [killOf(node, key)] : [])])
      }
    }
    for (const node of stranded) await this.move(node)
  }

  #later(work: () => void): void {
    if (this.isQuiet) setImmediate(work)
    else setTimeout(work, this.#chance.integer(0, 60))
  }

  #tell(node: SimulatedNode, frame: ToldFrame): void {
    const { key } = frame
    const state = node.journal.get(key)
    if (frame.type === "acknowledge" && state === "finished") node.journal.set(key, "acknowledged")
    if (frame.type === "kill") {
      node.killed.add(key)
      if (state !== "finished" && state !== "acknowledged") this.#finish(node, key)
    }
    if (frame.type !== "start") return
    if (state === undefined && node.killed.has(key)) return this.#finish(node, key)
    if (state === undefined) {
      node.journal.set(key, "running")
      node.begun.push(key)
    }
    if (state === "finished" || state === "acknowledged") this.#say(node, key)
    else this.#report(node, { type: "started", key, phase: "task", at: "" })
  }

  #finish(node: SimulatedNode, key: string): void {
    node.journal.set(key, "finished")
    this.#say(node, key)
  }

  #say(node: SimulatedNode, key: string): void {
    this.#report(node, { type: "task-finished", key, outcome: { state: "succeeded", steps: [] } })
  }

  #report(node: SimulatedNode, frame: Parameters<SessionExecutor["work"]>[1]): void {
    const { home } = node
    const session = home?.sessions.get(node.id)
    if (!home || !session) return
    this.#later(() => home.sessions.get(node.id) === session && home.executor.work(session, frame))
  }
}

const startOf = (node: SimulatedNode, key: string): ExecutorOrder => ({
  type: "start",
  nodeId: node.id,
  key,
  startBefore: Date.now() + 600_000,
  order: { save: [], steps: [], timeoutMilliseconds: 1 },
  secrets: { password: key },
})

const killOf = (node: SimulatedNode, key: string) => ({ type: "kill", nodeId: node.id, key, reason: "r" }) as const

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

async function playRound(seed: number): Promise<World> {
  const chance = new SeededRandom(seed + 1)
  const world = new World(seed)
  await world.open()
  const steps = [
    ...Array.from({ length: sizes.orders }, () => () => world.order()),
    ...Array.from({ length: sizes.orders / 4 }, () => async () => world.kill()),
    ...Array.from({ length: sizes.orders }, () => async () => world.work()),
    ...Array.from({ length: sizes.disturbances }, () => () => world.disturb()),
  ]
  while (steps.length > 0) {
    const [step] = steps.splice(chance.integer(0, steps.length - 1), 1)
    await step?.()
    await pause(chance.integer(0, 20))
  }
  await world.settle()
  return world
}

describe("X12, W9: orders and reports between servers, whatever fails on the way", () => {
  it(
    `${roundsCount} rounds from seed ${firstSeed}: every owner learns that its orders came, each begins once at most, and its result is acknowledged`,
    { timeout: 300_000 },
    async () => {
      for (let seed = firstSeed; seed < firstSeed + roundsCount; seed++) {
        const world = await playRound(seed)
        const waitUntilNone = async (unwanted: () => unknown[], step: () => void): Promise<void> => {
          const deadline = Date.now() + settleMilliseconds
          for (; unwanted().length > 0 && Date.now() < deadline; await pause(100)) step()
          expect(unwanted(), `RELAY_SEED=${seed}`).toEqual([])
        }
        const unknown = () => [...world.orders].filter(([, { isStarted }]) => !isStarted).map(([key]) => key)
        await waitUntilNone(unknown, () => undefined)
        const open = () => [...world.orders].filter(([, { isDone }]) => !isDone).map(([key]) => key)
        const unheard = () =>
          world.nodes.flatMap(({ journal }) => [...journal].filter(([, state]) => state !== "acknowledged"))
        await waitUntilNone(
          () => [...open(), ...unheard()],
          () => {
            world.work()
            // As agents do every 15 seconds.
            for (const node of world.nodes) world.repeat(node)
          },
        )
        const said = `RELAY_SEED=${seed}`
        for (const { id, begun, killed } of world.nodes) {
          expect(new Set(begun).size, `${said}: ${id} began twice`).toBe(begun.length)
          for (const key of begun) expect(world.orders.get(key)?.node.id, said).toBe(id)
          expect(
            [...killed].filter((key) => !world.orders.get(key)?.isKilled),
            said,
          ).toEqual([])
        }
        await world.close()
      }
    },
  )
})
