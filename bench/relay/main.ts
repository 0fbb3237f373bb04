/**
 * Two servers on one database: tasks a second where the server that owns the run has the nodes' sessions, and where the
 * other one has them and all orders and reports go through rows. In turns, on the same servers, simulated agents.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { figuresOf, round, withPostgres, type Connection } from "../measure.ts"
import { callerOf, startServerProcess, type Caller, type ServerProcess } from "../server-process.ts"
import { AgentsDriver } from "../fleet/agents-driver.ts"
import { preciseNow } from "../fleet/simulated-agent.ts"

const argument = (name: string, otherwise: number): number => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? otherwise : Number(process.argv[at + 1])
}
/** At each server. */
const agents = argument("agents", 1_000)
const width = argument("width", 500)
const runs = argument("runs", 5)

type Call = Caller["call"]

interface Execution {
  readonly id: string
  readonly state: string
  readonly counts: { readonly succeeded: number }
}

/** Tasks a second of one run over the agents with a tag. */
async function rollOut(call: Call, query: string, size: { count: number; width: number }): Promise<number> {
  const begin = preciseNow()
  const { id } = await call<Execution>("executions.create", {
    workflow: "noop",
    targets: { query },
    concurrency: size.width,
    errorLimit: 0,
    targetsMax: size.count,
  })
  for (;;) {
    const { state, counts } = await call<Execution>("executions.get", { execution: id })
    if (state === "succeeded" && counts.succeeded === size.count) return size.count / ((preciseNow() - begin) / 1000)
    if (["failed", "incomplete", "aborted", "succeeded"].includes(state)) throw new Error(`${id} ended ${state}`)
    await delay(5)
  }
}

const reachOf = (server: ServerProcess) => ({ url: server.url, ...(server.caPem ? { caPem: server.caPem } : {}) })

async function startBoth(connection: Connection, directory: string): Promise<[ServerProcess, ServerProcess]> {
  const flags = { "calls-per-second": "1000000", "blobs-directory": join(directory, "blobs") }
  const one = await startServerProcess({ connection, flags, data: join(directory, "one") })
  const data = await mkdtemp(join(directory, "two-"))
  await writeFile(join(data, "admin.json"), JSON.stringify({ key: one.key }))
  const keys = { "master-key-file": join(directory, "one", "master.key") }
  return [one, await startServerProcess({ connection, flags: { ...flags, ...keys }, data })]
}

async function measure(connection: Connection, directory: string) {
  const [one, two] = await startBoth(connection, directory)
  const drivers = [new AgentsDriver(), new AgentsDriver()] as const
  const { call, close } = callerOf(one)
  try {
    await call("workflows.apply", {
      name: "noop",
      document: 'kind: Workflow\nname: noop\nsteps: [{ run: ["true"] }]\n',
    })
    for (const [index, server] of [one, two].entries()) {
      const driver = drivers[index] ?? drivers[0]
      await driver.do({ do: "make", count: agents, prefix: `agent-${index}` })
      const { key } = await call<{ key: string }>("enrollment-keys.create", {
        usesMax: agents,
        tags: { at: `s${index}` },
      })
      await driver.do({ do: "enroll", ...reachOf(server), key })
      await driver.do({ do: "connect", ...reachOf(server) })
    }
    const rates: Record<"direct" | "relay", number[]> = { direct: [], relay: [] }
    const single: Record<"direct" | "relay", number[]> = { direct: [], relay: [] }
    for (let run = 0; run <= runs; run++) {
      for (const [way, query] of [
        ["direct", "at=s0"],
        ["relay", "at=s1"],
      ] as const) {
        for (const driver of drivers) await driver.tally({ reset: true, answers: "all" })
        const rate = await rollOut(call, query, { count: agents, width })
        for (const driver of drivers) await driver.tally({ reset: true, answers: "end" })
        const one = await rollOut(call, query, { count: agents, width: 1 }).catch(() => Number.NaN)
        // The first run of each warms the processes up.
        if (run > 0) rates[way].push(rate)
        if (run > 0) single[way].push(1000 / one)
      }
    }
    return { rates, single }
  } finally {
    await close()
    for (const driver of drivers) driver.stop()
    await two.stop()
    await one.stop()
  }
}

const directory = await mkdtemp(join(tmpdir(), "signalbox-bench-relay-"))
const { rates, single } = await withPostgres(async (fresh) => measure(await fresh(), directory))
await rm(directory, { recursive: true, force: true })
const [ours, floor] = [figuresOf(rates.relay), figuresOf(rates.direct)]
const result = {
  ...{ bench: "relay", runs, unit: "tasks/s", agents, width },
  ours: { ...ours, millisecondsATaskAtWidth1: figuresOf(single.relay).median },
  peers: [],
  floor: {
    name: "the same run over nodes whose sessions are at its owner",
    ...floor,
    millisecondsATaskAtWidth1: figuresOf(single.direct).median,
  },
  ratioToBestPeer: null,
  ratioToFloor: round(ours.median / floor.median),
}
process.stdout.write(`${JSON.stringify(result)}\n`)
