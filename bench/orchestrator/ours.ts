/**
 * Signalbox: the public operation `executions.create` through the router, the engine and the real store; an executor in
 * this process takes the place of agents and answers each order at once, with an output.
 */
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import pg from "pg"
import { pino } from "pino"
import { parseAttemptKey } from "@signalbox/contracts/fleet/agent-protocol"
import { compose } from "@signalbox/server/compose"
import { components } from "@signalbox/server/storage/components"
import { openDatabase } from "@signalbox/server/storage/database"
import { openDirectoryBlobStore } from "@signalbox/server/storage/directory-blob-store"
import { migrate } from "@signalbox/server/storage/migrator"
import { systemClock, systemRandom } from "@signalbox/server/system"
import type { Executor, ExecutorReport } from "@signalbox/server/router/ports"
import { contenderInput, finish, firstAndLast, type Connection } from "../measure.ts"
import { steer } from "./steering.ts"

const { connection, tasks, width, rounds, steered } = contenderInput<{
  connection: Connection
  tasks: number
  width: number
  rounds: number
  /** Also measures how soon a pause and an abort of as many tasks take effect. */
  steered?: boolean
}>()

let report: (report: ExecutorReport) => void = () => undefined
let inFlight = 0
let inFlightMax = 0
/** How often each task ran, by ordinal: small, since it stands in the memory that is measured. */
const runs = new Uint8Array(tasks)
let counting = true
let acknowledged = 0
let firstOrderAt = 0
let allAcknowledged = Promise.withResolvers<void>()
const executor: Executor = {
  listen: (listener) => (report = listener),
  acknowledge: (ended) => {
    acknowledged += ended.length
    if (acknowledged >= tasks) allAcknowledged.resolve()
  },
  dispatch(orders) {
    firstOrderAt ||= performance.now()
    const starts = orders.filter((order) => order.type === "start")
    inFlight += starts.length
    inFlightMax = Math.max(inFlightMax, inFlight)
    setImmediate(() => {
      for (const { nodeId, key } of starts) {
        inFlight--
        const { ordinal } = parseAttemptKey(key)
        if (counting) runs[ordinal] = (runs[ordinal] ?? 0) + 1
        const stdout = { head: `done by ${nodeId}\n`, tail: "", bytes: 38, truncated: false }
        const step = {
          name: "noop",
          state: "succeeded",
          attempts: 1,
          exitCode: 0,
          durationMilliseconds: 0,
          stdout,
        } as const
        report({ type: "task-finished", nodeId, key, outcome: { state: "succeeded", steps: [step] } })
      }
    })
  },
}

const directory = mkdtempSync(join(tmpdir(), "signalbox-bench-blobs-"))
const blobsBytesMax = 1024 ** 3
await migrate({ connection, components, programVersion: "0.1.0" })
const database = await openDatabase({ connection, connectionsMax: 8 })
let token = ""
const composition = await compose({
  database,
  connection,
  clock: systemClock,
  random: systemRandom,
  logger: pino({ level: "error" }),
  serverId: "srv_bench",
  publicUrl: "http://127.0.0.1",
  blobs: { store: await openDirectoryBlobStore({ directory, bytesMax: blobsBytesMax }), bytesMax: blobsBytesMax },
  masterKey: {
    place: "memory",
    read: () => Promise.resolve(Buffer.alloc(32, 7)),
    create: () => Promise.reject(new Error()),
  },
  executor,
  keepFirstKey: (key) => {
    token = key
    return Promise.resolve()
  },
})
const admin = new pg.Client({ ...connection, options: "-c search_path=signalbox" })
await admin.connect()
await addNodes(admin, tasks)

const call = async (operation: string, input: unknown): Promise<unknown> => {
  const reply = await composition.router.carryOut({
    operation,
    input,
    token,
    idempotencyKey: `bench-${operation}-${Math.random()}`,
    requestId: `req_${Math.random()}`,
    signal: new AbortController().signal,
  })
  if (reply.effect === "read") return reply.value
  if (reply.effect === "change" && reply.reply.status === "done") return reply.reply.value
  throw new Error("unexpected reply")
}

const document = 'kind: Workflow\nname: noop\nsteps:\n  - name: noop\n    run: ["true"]\n'
await call("workflows.apply", { name: "noop", document })
const create = async (): Promise<string> => {
  const input = { workflow: "noop", targets: { all: true }, concurrency: width, errorLimit: 0, targetsMax: tasks }
  return ((await call("executions.create", input)) as { id: string }).id
}
const bytesBefore = await databaseBytes()
let planSeconds = 0
const { first, last } = await firstAndLast(rounds, async () => {
  acknowledged = 0
  firstOrderAt = 0
  allAcknowledged = Promise.withResolvers<void>()
  runs.fill(0)
  const begin = performance.now()
  const id = await create()
  // The store is asked once it acknowledged the last task; to ask it all the time would take a tenth of what is measured.
  for (let state = ""; state !== "succeeded"; state = await stateOf(id)) {
    await Promise.race([allAcknowledged.promise, delay(1_000)])
  }
  const seconds = (performance.now() - begin) / 1000
  planSeconds = (firstOrderAt - begin) / 1000
  await checkRecord(id)
  return seconds
})
const residentMegabytes = (process.resourceUsage().maxRSS * 1024) / 1e6
const bytesPerTask = ((await databaseBytes()) - bytesBefore) / tasks / rounds
counting = false
const steering = steered ? await steer(call, admin, { id: await create(), tasks }) : undefined
await admin.end()
finish({
  seconds: last,
  perSecond: tasks / last,
  firstPerSecond: tasks / first,
  planSeconds,
  inFlightMax,
  residentMegabytes,
  bytesPerTask,
  ...steering,
})

/** Every task ran once, and its output is in the store. */
async function checkRecord(id: string): Promise<void> {
  const execution = (await call("executions.get", { execution: id })) as { counts: { succeeded: number } }
  if (execution.counts.succeeded !== tasks) throw new Error(`${execution.counts.succeeded} of ${tasks} succeeded`)
  if (runs.some((count) => count !== 1)) throw new Error("a task ran twice or never")
  const { rows } = await admin.query<{ count: number }>(
    `select count(*)::int as count from execution_tasks t join execution_targets n using (execution_id, ordinal)
     where t.execution_id = $1 and t.state = 'succeeded'
       and t.outcome -> 'steps' -> 0 -> 'stdout' ->> 'head' = 'done by ' || n.node_id || chr(10)`,
    [id],
  )
  if (rows[0]?.count !== tasks) throw new Error(`${rows[0]?.count} of ${tasks} outputs are on record`)
  const read = (await call("tasks.get", { execution: id, task: String(tasks - 1) })) as {
    outcome?: { steps: unknown[] }
  }
  if (read.outcome?.steps.length !== 1) throw new Error("the last output can't be read back")
}

async function stateOf(execution: string): Promise<string> {
  const { rows } = await admin.query<{ state: string }>("select state from executions where id = $1", [execution])
  const state = rows[0]?.state ?? ""
  if (["failed", "incomplete", "aborted"].includes(state)) throw new Error(`ended ${state}`)
  return state
}

/** All tables with their indexes, before anything is vacuumed. */
async function databaseBytes(): Promise<number> {
  const { rows: sizes } = await admin.query<{ bytes: string }>(
    `select sum(pg_total_relation_size(c.oid)) as bytes from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'signalbox' and c.relkind = 'r'`,
  )
  return Number(sizes[0]?.bytes)
}

/** Nodes as enrolment leaves them; enrolling ten thousand is not what is measured. */
async function addNodes(client: pg.Client, count: number): Promise<void> {
  await client.query(
    `insert into nodes (account, id, name, machine_id, public_key, enrolled_with, tags)
     select 'main', 'nod_' || lpad(n::text, 26, '0'), 'node-' || n, 'machine-' || n, 'key-' || n, 'enk_bench', '{"role":"web"}'
     from generate_series(1, $1) n`,
    [count],
  )
  await client.query("analyze nodes")
}
