/**
 * Approvals from end to end: 32 clients submit requests; two members are notified and vote; the result is delivered to a
 * service that receives, and to both members. Against plain SQL that writes the same rows. Then what waits for one
 * member among 100,000 open requests, and what a look for due timers reads.
 */
import { readFile } from "node:fs/promises"
import { performance } from "node:perf_hooks"
import pg from "pg"
import { Pool } from "undici"
import { figuresOf, percentile, round, withPostgres, type Connection } from "../measure.ts"
import { processorSecondsOfTree, startServerProcess } from "../server-process.ts"
import { Floor, type FloorShape } from "./floor.ts"
import { prepare, Receiver } from "./setup.ts"

const clients = 32
const secondsPerRun = Number(process.env["SECONDS"] ?? 10)
const runs = Number(process.env["RUNS"] ?? 3)
const connections = 16
/** Two members are asked and told the result, and the service that asked is told. */
const messagesPerLife = 5
const warmUpSeconds = Number(process.env["WARM_UP_SECONDS"] ?? 3)
const openRequests = 100_000
const listings = 1_000
const listingsBefore = 50

interface Sample {
  readonly perSecond: number
  readonly p50Milliseconds: number
  readonly transactionsPerLife: number
  /** Those that wrote something. */
  readonly writingPerLife: number
  /** Of processor time: of the process that does the work, and of PostgreSQL. */
  readonly millisecondsPerLife: number
  readonly postgresMillisecondsPerLife: number
}

interface Counts {
  readonly all: number
  readonly writing: number
}

/** What a contender has used until now. */
interface Meters {
  readonly transactions: () => Counts | Promise<Counts>
  /** Ids of the process that does the work, and of PostgreSQL's first. */
  readonly processes: { readonly own: number; readonly postgres: number }
}

/** Lives from 32 clients for a fixed time; what has begun is ended, and the time until then counts. */
/** PostgreSQL is a child of this process, but not of its work. */
function processorSecondsOfOwn(id: number): number {
  if (id !== process.pid) return processorSecondsOfTree(id)
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

async function load({ transactions, processes }: Meters, life: (client: number) => Promise<void>): Promise<Sample> {
  await livesFor(warmUpSeconds, life)
  const used = () => [processorSecondsOfOwn(processes.own), processorSecondsOfTree(processes.postgres)] as const
  const before = await transactions()
  const [ownBefore, postgresBefore] = used()
  const { latencies, seconds } = await livesFor(secondsPerRun, life)
  const [own, postgres] = used()
  const after = await transactions()
  return {
    perSecond: latencies.length / seconds,
    p50Milliseconds: percentile(latencies, 0.5),
    transactionsPerLife: (after.all - before.all) / latencies.length,
    writingPerLife: (after.writing - before.writing) / latencies.length,
    millisecondsPerLife: ((own - ownBefore) * 1000) / latencies.length,
    postgresMillisecondsPerLife: ((postgres - postgresBefore) * 1000) / latencies.length,
  }
}

/** Lives from every client for so long, and until those that have begun are over. */
async function livesFor(
  forSeconds: number,
  life: (client: number) => Promise<void>,
): Promise<{ latencies: readonly number[]; seconds: number }> {
  const latencies: number[] = []
  const begin = performance.now()
  const end = begin + forSeconds * 1000
  const client = async (index: number): Promise<void> => {
    while (performance.now() < end) {
      const from = performance.now()
      await life(index)
      latencies.push(performance.now() - from)
    }
  }
  await Promise.all(Array.from({ length: clients }, (_, index) => client(index)))
  return { latencies, seconds: (performance.now() - begin) / 1000 }
}

/** The id of PostgreSQL's first process: the parent of all that serve connections. */
async function postmasterOf(connection: Connection): Promise<number> {
  return await query(connection, async (client) => {
    const { rows } = await client.query<{ id: number }>("select pg_backend_pid() as id")
    const stat = await readFile(`/proc/${rows[0]?.id}/stat`, "utf8")
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])
  })
}

async function commitsOf(connection: Connection): Promise<Counts> {
  return await query(connection, async (client) => {
    // Sessions tell what they have counted when they are idle; the server's own looks for work count too.
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    const { rows } = await client.query<Counts>(
      `select xact_commit::float8 as all, pg_snapshot_xmax(pg_current_snapshot())::text::float8 as writing
       from pg_stat_database where datname = current_database()`,
    )
    return rows[0] ?? { all: 0, writing: 0 }
  })
}

async function query<T>(connection: Connection, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ ...connection, options: "-c search_path=signalbox" })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** Milliseconds. */
interface ListTimes {
  readonly p50: number
  readonly p99: number
  /** Of processor time, each list. */
  readonly server: number
  readonly postgres: number
}

interface Measured {
  readonly sample: Sample
  readonly shape: FloorShape
  readonly list: ListTimes
  readonly timerRows: number
}

async function ours(connection: Connection, withList: boolean): Promise<Measured> {
  const receiver = new Receiver()
  await receiver.start()
  const server = await startServerProcess({
    connection,
    flags: {
      "database-connections": String(connections),
      "calls-per-second": "1000000",
      "egress-allow": "127.0.0.1",
    },
  })
  const http = new Pool(server.url, { connections: clients, pipelining: 1 })
  let sequence = 0
  const send = async <T>(key: string, path: string, body?: object): Promise<T> => {
    const method = body === undefined ? "GET" : "POST"
    const reply = await http.request({
      method,
      path,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body
          ? { "content-type": "application/json", "idempotency-key": `bench-${sequence++}-${Math.random()}` }
          : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    })
    const text = await reply.body.text()
    if (reply.statusCode !== 200) throw new Error(`${path}: ${reply.statusCode} ${text}`)
    return JSON.parse(text) as T
  }
  try {
    const { backend, voters } = await prepare(server, receiver, clients)
    const life = async (client: number): Promise<void> => {
      const { id, digest } = await send<{ id: string; digest: string }>(backend, "/v1/approval-requests", {
        type: "purchase",
        title: "200 chairs",
        content: { chairs: 200, reason: "the new office", supplier: "sitwell" },
        attributes: { project: `project-${client}` },
        callback: `shop-${client}`,
      })
      await receiver.until(id, voters.length)
      for (const voter of voters) await send(voter, `/v1/approval-requests/${id}:approve`, { digest })
      // Each of them is told the result, too, and the service that asked.
      await receiver.until(id, messagesPerLife)
      receiver.forget(id)
    }
    await life(0)
    const processes = { own: server.process.pid ?? 0, postgres: await postmasterOf(connection) }
    const sample = await load({ transactions: () => commitsOf(connection), processes }, life)
    const shape = await shapeOf(connection)
    if (!withList || process.env["LIST"] === "0") return { sample, shape, list: noList, timerRows: 0 }
    await fill(connection)
    const list = await timesOf(processes, async () => {
      const { items } = await send<{ items: unknown[] }>(voters[0] ?? "", "/v1/approval-requests?mine=true")
      if (items.length !== 100) throw new Error(`${items.length} requests wait, not 100`)
    })
    return { sample, shape, list, timerRows: await rowsReadForTimers(connection) }
  } finally {
    await http.close()
    await server.stop()
    await receiver.stop()
  }
}

/** What the last life has written. */
async function shapeOf(connection: Connection): Promise<FloorShape> {
  return await query(connection, async (client) => {
    const { rows } = await client.query<Omit<FloorShape, "connections">>(
      `select state_data::text as "stateText",
         (select envelope from approval_votes where request_id = r.id and number = 1) as envelope,
         (select jsonb_agg(jsonb_build_object('event', event::text, 'message', message::text) order by created_at)
          from deliveries where event->>'subject' = r.id) as deliveries
       from approval_requests r order by submitted_at desc limit 1`,
    )
    const [row] = rows
    if (row?.deliveries.length !== messagesPerLife) throw new Error(`a life has ${row?.deliveries.length} messages`)
    return { ...row, connections }
  })
}

const noList: ListTimes = { p50: 0, p99: 0, server: 0, postgres: 0 }

/** One after the other, after some that don't count. */
async function timesOf(processes: Meters["processes"], call: () => Promise<void>): Promise<ListTimes> {
  for (let n = 0; n < listingsBefore; n++) await call()
  const used = () => [processorSecondsOfOwn(processes.own), processorSecondsOfTree(processes.postgres)] as const
  const [ownBefore, postgresBefore] = used()
  const latencies: number[] = []
  for (let n = 0; n < listings; n++) {
    const from = performance.now()
    await call()
    latencies.push(performance.now() - from)
  }
  const [own, postgres] = used()
  const each = (seconds: number): number => (seconds * 1000) / listings
  return {
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    server: each(own - ownBefore),
    postgres: each(postgres - postgresBefore),
  }
}

/** Makes 100,000 open requests of one that was: all wait for the first voter, due in a year. */
async function fill(connection: Connection): Promise<void> {
  await query(connection, async (client) => {
    await client.query("set synchronous_commit = off")
    await client.query(
      `insert into approval_requests
       select made.* from approval_requests one, generate_series(1, $1::int) n,
         jsonb_populate_record(one, jsonb_build_object('id', 'apr_open_' || lpad(n::text, 8, '0'), 'state', 'open',
           'decided_at', null, 'next_timer_at', now() + interval '1 year')) made
       where one.id = (select id from approval_requests order by submitted_at desc limit 1)`,
      [openRequests],
    )
    await client.query(
      `insert into approval_waits (request_id, member_key, account, level, since)
       select r.id, v.member->>'key', 'main', 1, now() from approval_requests r,
         (select member from approval_votes where number = 1 limit 1) v where r.id like 'apr_open_%'`,
    )
    // As after a while: what a hundred thousand rows at once leave to be done is not the list's.
    await client.query("vacuum analyze approval_requests")
    await client.query("vacuum analyze approval_waits")
    await client.query("checkpoint")
  })
}

/** How many rows a look for what is due reads, while nothing is. */
async function rowsReadForTimers(connection: Connection): Promise<number> {
  return await query(connection, async (client) => {
    const { rows } = await client.query<{ "QUERY PLAN": Array<{ Plan: PlanNode }> }>(
      `explain (analyze, format json) select id from approval_requests where next_timer_at <= now() order by next_timer_at limit 200`,
    )
    const read = (node: PlanNode): number =>
      node["Actual Rows"] +
      (node["Rows Removed by Filter"] ?? 0) +
      (node.Plans ?? []).reduce((sum, each) => sum + read(each), 0)
    const plan = rows[0]?.["QUERY PLAN"][0]?.Plan
    return plan ? read(plan) : -1
  })
}

interface PlanNode {
  readonly "Actual Rows": number
  readonly "Rows Removed by Filter"?: number
  readonly Plans?: readonly PlanNode[]
}

await withPostgres(async (fresh) => {
  const samples: { ours: Sample[]; floor: Sample[] } = { ours: [], floor: [] }
  let last: Measured | undefined
  for (let run = 0; run < runs; run++) {
    const connection = await fresh()
    last = await ours(connection, run === runs - 1)
    samples.ours.push(last.sample)
    const floor = new Floor(connection, last.shape)
    const processes = { own: process.pid, postgres: await postmasterOf(connection) }
    const meters = { transactions: () => ({ all: floor.transactions, writing: floor.transactions }), processes }
    samples.floor.push(await load(meters, (client) => floor.life(client)))
    await floor.stop()
    process.stderr.write(
      `run ${run + 1}: ours ${round(samples.ours[run]?.perSecond ?? 0)}/s, plain SQL ${round(samples.floor[run]?.perSecond ?? 0)}/s\n`,
    )
  }
  const of = (all: readonly Sample[], member: keyof Sample) => figuresOf(all.map((sample) => sample[member]))
  const mine = of(samples.ours, "perSecond")
  const plain = of(samples.floor, "perSecond")
  const list = last?.list ?? noList
  const result = {
    bench: "approvals",
    runs,
    unit: "requests/s",
    clients,
    ours: {
      ...mine,
      p50Milliseconds: of(samples.ours, "p50Milliseconds").median,
      transactionsPerLife: of(samples.ours, "transactionsPerLife").median,
      writingTransactionsPerLife: of(samples.ours, "writingPerLife").median,
      processorMillisecondsPerLife: {
        server: of(samples.ours, "millisecondsPerLife").median,
        postgres: of(samples.ours, "postgresMillisecondsPerLife").median,
      },
    },
    peers: [],
    floor: {
      name: "plain SQL, the same rows, 16 connections, no HTTP, no job queue",
      ...plain,
      transactionsPerLife: of(samples.floor, "transactionsPerLife").median,
      processorMillisecondsPerLife: {
        clients: of(samples.floor, "millisecondsPerLife").median,
        postgres: of(samples.floor, "postgresMillisecondsPerLife").median,
      },
    },
    ratioToBestPeer: null,
    ratioToFloor: round(mine.median / plain.median),
    listOf100000: {
      p50Milliseconds: round(list.p50),
      p99Milliseconds: round(list.p99),
      processorMilliseconds: { server: round(list.server), postgres: round(list.postgres) },
    },
    timerRowsRead: last?.timerRows,
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
})
