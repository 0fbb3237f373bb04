/**
 * What signals cost a server: simulated agents over real WebSockets (TLS), first without a signal, then with figures that
 * change nothing, at the usual interval and at the shortest, then all beyond their thresholds at once, and back. For each
 * stretch: processor time of server and database, and rows written.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import pg from "pg"
import { AgentsDriver } from "../fleet/agents-driver.ts"
import { round, withPostgres, type Connection } from "../measure.ts"
import {
  callerOf,
  processorSecondsOfTree,
  residentMegabytes,
  startServerProcess,
  type Caller,
} from "../server-process.ts"

const argument = (name: string, otherwise: number): number => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? otherwise : Number(process.argv[at + 1])
}
const agents = argument("agents", 1_000)
const seconds = argument("seconds", 60)
const metrics = { load: { load: true }, memory: { memory: true }, disk: { disk: "/" }, queue: { command: "cat queue" } }
const threshold = { raise: { above: 90 }, clear: { below: 80 } }
const [calm, beyond] = [50, 95]

interface Stretch {
  readonly figuresPerSecond: number
  readonly serverPercent: number
  readonly databasePercent: number
  readonly rowsPerMinute: number
}

interface Parts {
  readonly call: Caller["call"]
  readonly driver: AgentsDriver
  readonly client: pg.Client
  readonly server: number
  readonly postgres: number
}

function note(text: string): void {
  process.stderr.write(`${text}\n`)
}

const putAll = async (call: Caller["call"], every: string): Promise<void> => {
  for (const [name, metric] of Object.entries(metrics)) await call("signals.put", { name, metric, every, ...threshold })
}

/** Inserted, changed and deleted, in all tables of the server's database. */
async function rowsWritten(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ count: string }>(
    "select sum(n_tup_ins + n_tup_upd + n_tup_del) as count from pg_stat_user_tables",
  )
  return Number(rows[0]?.count ?? 0)
}

/** A connection that is idle tells its statistics within ten seconds. */
const statisticsMilliseconds = 11_000

async function watch({ driver, client, server, postgres }: Parts, name: string): Promise<Stretch> {
  const look = async () => ({
    at: performance.now(),
    rows: await rowsWritten(client),
    server: processorSecondsOfTree(server),
    database: processorSecondsOfTree(postgres),
    figures: (await driver.tally()).figures,
  })
  await delay(statisticsMilliseconds)
  const before = await look()
  await delay(seconds * 1_000)
  const after = await look()
  const passed = (after.at - before.at) / 1_000
  const rate = (of: keyof typeof after): number => (after[of] - before[of]) / passed
  const stretch = {
    figuresPerSecond: round(rate("figures")),
    serverPercent: round(rate("server") * 100),
    databasePercent: round(rate("database") * 100),
    rowsPerMinute: round(rate("rows") * 60),
  }
  note(`${name}: ${JSON.stringify(stretch)}`)
  return stretch
}

/** All nodes pass a threshold: from then until each state is on record, with its event. */
async function turn({ call, driver, client }: Parts, to: { value: number; state: string; event: string }) {
  const count = async (sql: string, value: string): Promise<number> =>
    Number((await client.query<{ count: string }>(sql, [value])).rows[0]?.count ?? 0)
  const wanted = agents * Object.keys(metrics).length
  await delay(statisticsMilliseconds)
  const rowsBefore = await rowsWritten(client)
  await driver.do({ do: "figure", value: to.value })
  const begin = performance.now()
  while ((await count("select count(*) from signal_states where state = $1", to.state)) < wanted) await delay(50)
  const taken = (performance.now() - begin) / 1_000
  const events = await count("select count(*) from outbox where type = $1", to.event)
  if (events !== wanted) throw new Error(`${events} events ${to.event} for ${wanted} changes`)
  await call("signals.list", {})
  await delay(statisticsMilliseconds)
  const rows = (await rowsWritten(client)) - rowsBefore
  note(`${to.event}: ${wanted} in ${round(taken)} s, ${rows} rows`)
  return { changes: wanted, seconds: round(taken), rows }
}

async function measure(connection: Connection, data: string, postgres: number) {
  const driver = new AgentsDriver()
  const server = await startServerProcess({ connection, flags: { "calls-per-second": "1000000" }, data, tls: true })
  const { call, close } = callerOf(server)
  const client = new pg.Client({ ...connection })
  await client.connect()
  try {
    const reach = { url: server.url, ...(server.caPem ? { caPem: server.caPem } : {}) }
    const { key } = await call<{ key: string }>("enrollment-keys.create", { usesMax: agents })
    await driver.do({ do: "make", count: agents, prefix: "agent" })
    await driver.do({ do: "enroll", ...reach, key })
    await driver.do({ do: "connect", ...reach })
    await driver.do({ do: "figure", value: calm })
    note(`${agents} agents are connected`)
    const processId = server.process.pid ?? 0
    const parts: Parts = { call, driver, client, server: processId, postgres }
    await delay(seconds * 1_000)
    const none = await watch(parts, "no signal")
    await putAll(call, "15s")
    await delay(30_000)
    const usual = await watch(parts, "every 15 s")
    await putAll(call, "5s")
    await delay(10_000)
    const shortest = await watch(parts, "every 5 s")
    const raised = await turn(parts, { value: beyond, state: "raised", event: "signal.raised" })
    const cleared = await turn(parts, { value: calm, state: "clear", event: "signal.cleared" })
    const { lost } = await driver.tally()
    return { none, usual, shortest, raised, cleared, lost, serverMegabytes: round(await residentMegabytes(processId)) }
  } finally {
    driver.stop()
    await client.end()
    await close()
    await server.stop()
  }
}

const data = await mkdtemp(join(tmpdir(), "signalbox-bench-signals-"))
const ours = await withPostgres(async (fresh, _server, processId) => measure(await fresh(), data, processId))
await rm(data, { recursive: true, force: true })
process.stdout.write(
  `${JSON.stringify({ bench: "signals", agents, signals: Object.keys(metrics).length, seconds, ours, peers: [] })}\n`,
)
