/**
 * 64 clients on a small changing operation (`groups.put`) over HTTP with keep-alive, against plain SQL that writes the
 * same rows in as many transactions with as many connections.
 */
import { performance } from "node:perf_hooks"
import { Pool } from "undici"
import pg from "pg"
import { figuresOf, round, withPostgres, type Connection } from "../measure.ts"
import { startServerProcess } from "../server-process.ts"

const clients = 64
const secondsPerRun = 4
const runs = 5
const connections = 16

interface Sample {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
}

/** Calls `once` from 64 clients for a fixed time. */
async function load(once: (client: number, n: number) => Promise<void>): Promise<Sample> {
  const latencies: number[] = []
  const begin = performance.now()
  const end = begin + secondsPerRun * 1000
  const client = async (index: number): Promise<void> => {
    for (let n = 0; performance.now() < end; n++) {
      const from = performance.now()
      await once(index, n)
      latencies.push(performance.now() - from)
    }
  }
  await Promise.all(Array.from({ length: clients }, (_, index) => client(index)))
  const seconds = (performance.now() - begin) / 1000
  const sorted = latencies.toSorted((a, b) => a - b)
  const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? 0
  return { perSecond: latencies.length / seconds, p50: at(0.5), p99: at(0.99) }
}

async function ours(connection: Connection, run: number): Promise<Sample> {
  const server = await startServerProcess({
    connection,
    flags: { "database-connections": String(connections), "calls-per-second": "1000000" },
  })
  const http = new Pool(server.url, { connections: clients, pipelining: 1 })
  try {
    const put = async (client: number, n: number): Promise<void> => {
      const { statusCode, body } = await http.request({
        method: "PUT",
        path: `/v1/groups/group-${client}`,
        headers: {
          authorization: `Bearer ${server.key}`,
          "content-type": "application/json",
          "idempotency-key": `bench-${run}-${client}-${n}`,
        },
        body: `{"query":"role=web","description":"change ${n}"}`,
      })
      const text = await body.text()
      if (statusCode !== 200) throw new Error(`${statusCode}: ${text}`)
    }
    await load(put)
    return await load(put)
  } finally {
    await http.close()
    await server.stop()
  }
}

/** The same rows: the group, its event, the audit record, the idempotency record; one transaction each. */
async function floor(connection: Connection): Promise<Sample> {
  const pool = new pg.Pool({ ...connection, max: connections, options: "-c search_path=signalbox" })
  // PostgreSQL may stop before a connection that was ended is gone.
  pool.on("connect", (client) => void client.on("error", () => {}))
  const write = async (client: number, n: number): Promise<void> => {
    const id = `${client}-${n}-${Math.random()}`
    const connected = await pool.connect()
    try {
      await connected.query("begin")
      await connected.query({
        name: "group",
        text: `insert into node_groups (account, name, id, query, description) values ('main', $1, 'grp' || $1, 'role=web', $2)
               on conflict (account, name) do update set description = excluded.description, version = node_groups.version + 1, changed_at = now()`,
        values: [`group-${client}`, `change ${n}`],
      })
      await connected.query({
        name: "record",
        text: `with e as (
            insert into outbox (account, aggregate_id, id, type, subject, subject_version, cause, caused_by, depth, principal, data)
            values ('main', $2, 'evt' || $1, 'group.changed', $2, $3, $1, $1, 0, 'key', '{"name":"x"}')
          ), a as (
            insert into audit (aggregate_id, id, account, principal, operation, subject, outcome, cause, input_digest)
            values ($2, $1, 'main', 'key', 'groups.put', $2, 'done', $1, 'digest')
          )
          insert into idempotency (id, account, operation, body_hash, status, response)
          values ($1, 'main', 'groups.put', 'hash', 200, '{"name":"x","query":"role=web"}')`,
        values: [id, `group-${client}`, n],
      })
      await connected.query("commit")
    } finally {
      connected.release()
    }
  }
  try {
    await load(write)
    return await load(write)
  } finally {
    await pool.end()
  }
}

await withPostgres(async (fresh) => {
  const samples: { ours: Sample[]; floor: Sample[] } = { ours: [], floor: [] }
  for (let run = 0; run < runs; run++) {
    const connection = await fresh()
    samples.ours.push(await ours(connection, run))
    samples.floor.push(await floor(connection))
    process.stderr.write(
      `run ${run + 1}: ours ${round(samples.ours[run]?.perSecond ?? 0)}/s, plain SQL ${round(samples.floor[run]?.perSecond ?? 0)}/s\n`,
    )
  }
  const of = (all: readonly Sample[], member: keyof Sample) => figuresOf(all.map((sample) => sample[member]))
  const mine = of(samples.ours, "perSecond")
  const plain = of(samples.floor, "perSecond")
  const result = {
    bench: "api",
    runs,
    unit: "changes/s",
    clients,
    ours: { ...mine, p50Milliseconds: of(samples.ours, "p50").median, p99Milliseconds: of(samples.ours, "p99").median },
    peers: [],
    floor: { name: "plain SQL, the same rows in as many transactions, 16 connections, no HTTP", ...plain },
    ratioToBestPeer: null,
    ratioToFloor: round(mine.median / plain.median),
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
})
