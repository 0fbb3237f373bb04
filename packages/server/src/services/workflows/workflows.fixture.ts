/** A workflows service on a real database and router, with nodes and an executor in this process, for tests. */
import { noUses } from "../../router/no-uses.fixture.ts"
import { randomBytes } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import type { RollbackOutcome, StepResult, TaskOutcome } from "@signalbox/contracts/fleet/agent-protocol"
import { windowsGet } from "@signalbox/contracts/calendars/windows"
import { nodesGet, nodesResolve } from "@signalbox/contracts/fleet/operations"
import type { CallInputOf, OperationDeclaration, OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { pino } from "pino"
import type { z } from "zod"
import { onRead, type Handler, type ReadContext } from "../../router/handler.ts"
import { createEgress } from "../../egress/egress.ts"
import { nowhere } from "../../router/forwarded-call.ts"
import { noGates } from "../../router/gate-ports.ts"
import {
  type Executor,
  type ExecutorOrder,
  type ExecutorReport,
  type NodeProbes,
  type SecretReader,
  type WindowState,
} from "../../router/ports.ts"
import { createRouter, type Router } from "../../router/router.ts"
import { noRules } from "../../router/rule-ports.ts"
import { createBlobs } from "../../storage/blobs.ts"
import type { BlobStore } from "../../storage/blob-store.ts"
import { openDirectoryBlobStore } from "../../storage/directory-blob-store.ts"
import type { Database } from "../../storage/database.ts"
import type { OwnerSettings } from "./background.ts"
import { createWorkflowsService, type WorkflowsService } from "./service.ts"

export interface FixtureNode {
  readonly id: string
  readonly name: string
  readonly tags: Record<string, string>
}

export const testAccount = "main"

export function makeNodes(count: number, tags: Record<string, string> = { role: "web" }): FixtureNode[] {
  return Array.from({ length: count }, (_, index) => {
    const number = String(index).padStart(7, "0")
    return { id: `nod_${number}`, name: `web-${number}`, tags }
  })
}

/** Answers nodes.resolve from a list that a test may change. */
export class FixtureFleet {
  nodes: readonly FixtureNode[]
  calls = 0

  constructor(nodes: readonly FixtureNode[]) {
    this.nodes = nodes
  }

  handler(): Handler {
    return onRead(nodesResolve, async (input) => {
      this.calls += 1
      const { nodes, query, group } = input
      if (group !== undefined) throw new AppError("fleet.group-not-found", `there is no group "${group}"`)
      const [key = "", value = ""] = (query ?? "").split("=")
      const after = input.cursor ?? ""
      const wanted = nodes && new Set(nodes)
      const matching = this.nodes.filter((node) =>
        wanted ? wanted.has(node.id) || wanted.has(node.name) : query === undefined || node.tags[key] === value,
      )
      const rest = matching.filter((node) => node.id > after)
      const items = rest.slice(0, input.limit)
      const known = new Set(matching.flatMap((node) => [node.id, node.name]))
      const unknown = (nodes ?? []).filter((name) => !known.has(name))
      const last = items.at(-1)
      const count = input.count ? { count: matching.length } : {}
      return { items, unknown, ...count, ...(rest.length > items.length && last ? { nextCursor: last.id } : {}) }
    })
  }
}

function getNode(fleet: FixtureFleet): Handler {
  return onRead(nodesGet, async ({ node }) => {
    const found = fleet.nodes.find(({ id, name }) => id === node || name === node)
    if (!found) throw new AppError("fleet.node-not-found", `there is no node "${node}"`)
    return found as never
  })
}

/** Any window exists; whether it is open is what `windows` says. */
function getWindow(): Handler {
  return onRead(windowsGet, async ({ name }) => ({ name }) as never)
}

export type Behaviour = (order: ExecutorOrder & { type: "start" }) => TaskOutcome | Promise<TaskOutcome> | "stall"

export const succeeded: TaskOutcome = { state: "succeeded", steps: [] }
export const failed: TaskOutcome = { state: "failed", class: "command", message: "exit code 1", steps: [] }

/** Runs orders in this process, at most once per attempt, as agents do. */
export class FixtureExecutor implements Executor {
  behaviour: Behaviour
  rollback: (key: string) => RollbackOutcome = () => ({ state: "rolled-back", restored: 0, undone: [] })
  /** Where present: what a rollback waits for. */
  holdRollback: ((key: string) => Promise<void>) | undefined
  /** Whether a node was removed, as the fleet finds out for nodes without a session. */
  isRemoved: (nodeId: string) => boolean = () => false
  /** Reports `started` before the end. */
  startsFirst = false
  /** Sends each report so many times. */
  copies = 1
  readonly orders: ExecutorOrder[] = []
  readonly acknowledged: string[] = []
  readonly forgotten: string[] = []
  readonly runs = new Map<string, number>()
  readonly #journal = new Map<string, Promise<ExecutorReport> | "stall">()
  #listener: (report: ExecutorReport) => void = () => {}
  inFlight = 0
  inFlightMax = 0

  constructor(behaviour: Behaviour = () => succeeded) {
    this.behaviour = behaviour
  }

  listen(listener: (report: ExecutorReport) => void): void {
    this.#listener = listener
  }

  report(report: ExecutorReport): void {
    for (let copy = 0; copy < this.copies; copy++) this.#listener(report)
  }

  acknowledge(reports: ReadonlyArray<{ key: string; phase: string }>): void {
    for (const { key, phase } of reports) this.acknowledged.push(`${key} ${phase}`)
  }

  dispatch(orders: readonly ExecutorOrder[]): void {
    for (const order of orders) {
      this.orders.push(order)
      if (order.type === "start") void this.#start(order)
      if (order.type === "rollback") void this.#rollBack(order)
      if (order.type === "kill") void this.#kill(order)
    }
  }

  forget(executionId: string): void {
    this.forgotten.push(executionId)
  }

  answer(): void {
    // Nodes of this fixture ask for no steps.
  }

  async #start(order: ExecutorOrder & { type: "start" }): Promise<void> {
    const { nodeId, key } = order
    if (this.isRemoved(nodeId)) return this.report({ type: "vanished", nodeId, key })
    let entry = this.#journal.get(key)
    if (!entry) {
      this.runs.set(key, (this.runs.get(key) ?? 0) + 1)
      this.inFlight += 1
      this.inFlightMax = Math.max(this.inFlightMax, this.inFlight)
      const outcome = this.behaviour(order)
      entry =
        outcome === "stall"
          ? "stall"
          : Promise.resolve(outcome).then((value) => {
              this.inFlight -= 1
              return { type: "task-finished", nodeId, key, outcome: value }
            })
      this.#journal.set(key, entry)
    }
    if (this.startsFirst) {
      this.report({ type: "accepted", nodeId, key, phase: "task" })
      this.report({ type: "started", nodeId, key, phase: "task" })
    }
    if (entry !== "stall") this.report(await entry)
  }

  async #rollBack({ nodeId, key }: ExecutorOrder): Promise<void> {
    await Promise.resolve()
    if (this.startsFirst) this.report({ type: "started", nodeId, key, phase: "rollback" })
    await this.holdRollback?.(key)
    this.report({ type: "rollback-finished", nodeId, key, outcome: this.rollback(key) })
  }

  async #kill({ nodeId, key }: ExecutorOrder): Promise<void> {
    await Promise.resolve()
    if (this.#journal.get(key) !== "stall") return
    this.inFlight -= 1
    const outcome: TaskOutcome = { state: "aborted", steps: [] }
    const report: ExecutorReport = { type: "task-finished", nodeId, key, outcome }
    this.#journal.set(key, Promise.resolve(report))
    this.report(report)
  }
}

const blobsBytesMax = 64 * 1024 * 1024

export interface Fixture {
  readonly blobs: { readonly store: BlobStore; readonly directory: string }
  readonly fleet: FixtureFleet
  readonly executor: FixtureExecutor
  readonly workflows: WorkflowsService
  readonly router: Router
  call<O extends OperationDeclaration<z.ZodObject, z.ZodType>>(
    operation: O,
    input: CallInputOf<O>,
  ): Promise<OutputOf<O>>
  stream<T>(name: string, input: object, signal?: AbortSignal): AsyncIterable<{ data: T }>
  stop(): Promise<void>
}

const alwaysOpen: WindowState = { stateOf: () => ({ open: true, changesAt: null, name: null }) }
const noProbe: StepResult = { name: "probe", state: "not-run", attempts: 0, durationMilliseconds: 0 }
const noSecrets: SecretReader = { read: async () => ({}), readVersions: async () => ({}), versions: async () => ({}) }

const clock = { now: () => Date.now() }
const random = { bytes: (count: number) => randomBytes(count) }

function openRouter(database: Database, handlers: ReadonlyMap<string, Handler>): Router {
  return createRouter({
    database,
    clock,
    random,
    map: () => ({ version: 1, handlers, remote: new Map(), rules: new Map(), elsewhere: new Set<string>() }),
    operations: new Map(),
    authenticators: [],
    rules: noRules,
    gates: noGates,
    uses: noUses,
    elsewhere: nowhere,
    markSecretInput: (text) => text,
  })
}

interface FixtureOptions {
  readonly database: Database
  readonly nodes?: readonly FixtureNode[]
  readonly settings?: Partial<OwnerSettings>
  readonly serverId?: string
  readonly start?: boolean
  readonly windows?: WindowState
  readonly secrets?: SecretReader
  readonly probes?: NodeProbes
  readonly shared?: Pick<Fixture, "fleet" | "executor"> & Partial<Pick<Fixture, "blobs">>
}

/** Another server of the same installation shares database, executor and blobs; give the first one in `shared`. */
export async function openFixture(options: FixtureOptions): Promise<Fixture> {
  const fleet = options.shared?.fleet ?? new FixtureFleet(options.nodes ?? makeNodes(10))
  const executor = options.shared?.executor ?? new FixtureExecutor()
  const { database } = options
  const blobs = options.shared?.blobs ?? (await openBlobs())
  const handlers = new Map<string, Handler>()
  const router = openRouter(database, handlers)
  const workflows = createWorkflowsService({
    database,
    clock,
    random,
    logger: pino({ level: process.env["TEST_LOG"] ?? "silent" }),
    operations: router,
    standing: router,
    principals: { findPrincipal: () => undefined },
    secrets: options.secrets ?? noSecrets,
    artifacts: { find: async () => undefined },
    blobs: createBlobs({ database, store: blobs.store, bytesMax: blobsBytesMax }),
    egress: createEgress({ allow: [{ kind: "any" }], privateAllowed: true }),
    windows: options.windows ?? alwaysOpen,
    probes: options.probes ?? { probe: async () => noProbe },
    executor,
    serverId: options.serverId ?? `srv_${randomBytes(6).toString("hex")}`,
    settings: { scanMilliseconds: 100, renewMilliseconds: 200, leaseMilliseconds: 1_000, ...options.settings },
  })
  for (const handler of [fleet.handler(), getNode(fleet), getWindow(), ...workflows.service.handlers])
    handlers.set(handler.operation.name, handler)
  if (options.start !== false) await workflows.service.start?.()
  return {
    fleet,
    executor,
    workflows,
    router,
    call: (operation, input) =>
      router.call(operation, input, {
        account: testAccount,
        service: "tests",
        roles: ["admin"],
        cause: "test",
        depth: 0,
      }),
    stream<T>(name: string, input: object, signal = new AbortController().signal) {
      const handler = handlers.get(name)
      if (handler?.effect !== "stream") throw new Error(`${name} is no stream`)
      const context = { account: testAccount, sql: database, signal, caller: {} } as unknown as ReadContext
      return handler.run(input as never, context) as AsyncIterable<{ data: T }>
    },
    blobs,
    async stop() {
      await workflows.service.stop?.()
      await rm(blobs.directory, { recursive: true, force: true })
    },
  }
}

async function openBlobs(): Promise<Fixture["blobs"]> {
  const directory = await mkdtemp(join(tmpdir(), "signalbox-blobs-"))
  return { directory, store: await openDirectoryBlobStore({ directory, bytesMax: blobsBytesMax }) }
}

/** Waits until `probe` gives something. */
export async function eventually<T>(probe: () => Promise<T | undefined | false>, milliseconds = 10_000): Promise<T> {
  const end = Date.now() + milliseconds
  for (;;) {
    const found = await probe()
    if (found !== undefined && found !== false) return found
    if (Date.now() > end) throw new Error(`nothing came within ${milliseconds} ms`)
    await delay(10)
  }
}

/** A workflow in YAML with one step. */
export function documentOf(fields: Record<string, unknown> = {}): string {
  return JSON.stringify({ kind: "Workflow", name: "noop", steps: [{ name: "nothing", run: ["true"] }], ...fields })
}
