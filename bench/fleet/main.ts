/**
 * One server with 10,000 connected agents: simulated ones, that speak the agent's protocol over real WebSockets (TLS as
 * real agents, unless `--plain`), many in a process. Measures enrolment, connecting, memory, a rollout over all of them,
 * and the latency of one order on an idle server; beside it NATS request/reply over as many connections.
 */
import { spawnSync } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { figuresOf, percentile, round, runContender, withPostgres, type Connection } from "../measure.ts"
import {
  callerOf,
  processorSeconds,
  processorSecondsOfTree,
  residentMegabytes,
  startServerProcess,
  type Caller,
  type ServerProcess,
} from "../server-process.ts"
import { AgentsDriver } from "./agents-driver.ts"
import { commitLatencies } from "./commit-floor.ts"
import { preciseNow } from "./simulated-agent.ts"

const argument = (name: string, otherwise: number): number => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? otherwise : Number(process.argv[at + 1])
}
const agents = argument("agents", 10_000)
const width = argument("width", 1_000)
/** From the fifth on they count, as those of `bench orchestrator` do: servers run for weeks, and the first is the compiler's. */
const rollouts = argument("runs", 9)
const warmFrom = Math.min(5, rollouts)
const samples = argument("samples", 400)
const tls = !process.argv.includes("--plain")
const perProcess = 5_000
/** An idle server gives memory back within half a minute; with and without agents it has as long. */
const settleSeconds = argument("settle", 40)
const watchSeconds = argument("watch", 20)

function note(text: string): void {
  process.stderr.write(`${text}\n`)
}

type Call = Caller["call"]

interface Execution {
  readonly id: string
  readonly state: string
  readonly counts: { readonly succeeded: number }
}

/** Runs the workflow over targets; gives when it was asked for, and when it had ended. */
async function rollOut(
  call: Call,
  targets: object,
  size: { count: number; width: number; of: readonly AgentsDriver[] },
) {
  const begin = preciseNow()
  const { id } = await call<Execution>("executions.create", {
    workflow: "noop",
    targets,
    concurrency: size.width,
    errorLimit: 0,
    targetsMax: size.count,
  })
  // The store is asked once the last agent is done, as in `bench orchestrator`; asking all the time is what others do.
  await Promise.all(size.of.map((driver, index) => driver.do({ do: "run", count: perDriver(size.count, index) })))
  for (;;) {
    const { state, counts } = await call<Execution>("executions.get", { execution: id })
    if (state === "succeeded" && counts.succeeded === size.count) return { id, begin, end: preciseNow() }
    if (["failed", "incomplete", "aborted", "succeeded"].includes(state)) throw new Error(`${id} ended ${state}`)
    await delay(5)
  }
}

const perDriver = (count: number, index: number): number => Math.min(perProcess, count - index * perProcess)

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

const flags = { "calls-per-second": "1000000" }
const reachOf = (server: ServerProcess) => ({ url: server.url, ...(server.caPem ? { caPem: server.caPem } : {}) })
const talliesOf = (drivers: readonly AgentsDriver[]) => Promise.all(drivers.map((driver) => driver.tally()))

async function measure(connection: Connection, data: string, postgres: number) {
  const drivers = Array.from({ length: Math.ceil(agents / perProcess) }, () => new AgentsDriver())
  const start = () => startServerProcess({ connection, flags, data, tls })
  let server = await start()
  try {
    const enrolSeconds = await enroll(server, drivers)
    // A new process, so that its memory is that of sessions and not of ten thousand enrolments.
    await server.stop()
    server = await start()
    const connected = await connect(server, drivers)
    const { call, close } = callerOf(server)
    const used = () => ({
      server: processorSecondsOfTree(server.process.pid ?? 0),
      database: processorSecondsOfTree(postgres),
      agents: sum(drivers.map((driver) => processorSecondsOfTree(driver.processId))),
    })
    const rolledOut = await rollOutOften(call, drivers, used)
    const busyMegabytes = await residentMegabytes(server.process.pid ?? 0)
    const dispatched = await dispatchOneByOne(call, drivers, connection)
    const lost = sum((await talliesOf(drivers)).map((tally) => tally.lost))
    await close()
    return { enrolSeconds, ...connected, ...rolledOut, busyMegabytes, ...dispatched, lost }
  } finally {
    for (const driver of drivers) driver.stop()
    await server.stop()
  }
}

/** Seconds that the enrolment of all took. */
async function enroll(server: ServerProcess, drivers: readonly AgentsDriver[]): Promise<number> {
  const { call, close } = callerOf(server)
  for (const [index, driver] of drivers.entries()) {
    const count = perDriver(agents, index)
    await driver.do({ do: "make", count, prefix: `agent-${index}` })
  }
  const begin = preciseNow()
  await Promise.all(
    drivers.map(async (driver, index) => {
      const input = { usesMax: perProcess, tags: { process: `p${index}` } }
      const { key } = await call<{ key: string }>("enrollment-keys.create", input)
      await driver.do({ do: "enroll", ...reachOf(server), key })
    }),
  )
  const seconds = (preciseNow() - begin) / 1000
  note(`enrolled ${agents} in ${round(seconds)} s`)
  const document = 'kind: Workflow\nname: noop\nsteps:\n  - name: noop\n    run: ["true"]\n'
  await call("workflows.apply", { name: "noop", document })
  await close()
  return seconds
}

async function connect(server: ServerProcess, drivers: readonly AgentsDriver[]) {
  const processId = server.process.pid ?? 0
  await delay(settleSeconds * 1000)
  const emptyMegabytes = await residentMegabytes(processId)
  const begin = preciseNow()
  await Promise.all(drivers.map((driver) => driver.do({ do: "connect", ...reachOf(server) })))
  const connectSeconds = (preciseNow() - begin) / 1000
  const fullMegabytes = await residentMegabytes(processId)
  note(`connected ${agents} in ${round(connectSeconds)} s`)
  await delay(settleSeconds * 1000)
  const settledMegabytes = await residentMegabytes(processId)
  const usedBefore = await processorSeconds(processId)
  await delay(watchSeconds * 1000)
  const idlePercent = (((await processorSeconds(processId)) - usedBefore) / watchSeconds) * 100
  note(`${round(emptyMegabytes)} MB empty, ${round(settledMegabytes)} MB with all; idle ${round(idlePercent)} %`)
  return { connectSeconds, emptyMegabytes, fullMegabytes, settledMegabytes, idlePercent }
}

/** Seconds of processor time, or microseconds of it a task. */
interface Processor {
  readonly server: number
  readonly database: number
  readonly agents: number
}

/** Each run over all agents: seconds until the last agent was done, and until all of it was on record. */
async function rollOutOften(call: Call, drivers: readonly AgentsDriver[], used: () => Processor) {
  const seconds: number[] = []
  const processor: Processor[] = []
  const untilLast: number[] = []
  for (let run = 1; run <= rollouts; run++) {
    await Promise.all(drivers.map((driver) => driver.tally({ reset: true })))
    const before = used()
    const { begin, end } = await rollOut(call, { all: true }, { count: agents, width, of: drivers })
    const after = used()
    const tallies = await talliesOf(drivers)
    const perTask = (of: keyof Processor) => round(((after[of] - before[of]) * 1e6) / agents)
    processor.push({ server: perTask("server"), database: perTask("database"), agents: perTask("agents") })
    const twice = sum(tallies.map((tally) => tally.repeated))
    if (sum(tallies.map((tally) => tally.ran)) !== agents || twice > 0) throw new Error("a task ran twice or never")
    seconds.push((end - begin) / 1000)
    untilLast.push((Math.max(...tallies.map((tally) => tally.finishedAt)) - begin) / 1000)
    const { server, database, agents: ofAgents } = processor.at(-1) ?? {}
    note(
      `run ${run}: ${round(agents / (seconds.at(-1) ?? 0))} tasks/s, the last agent done after ${round(untilLast.at(-1) ?? 0)} s`,
    )
    note(`  microseconds of processor time a task: server ${server}, database ${database}, agents ${ofAgents}`)
  }
  // A result is acknowledged with its agent's next order, in the run after this one, or when the agent says that it lives.
  await acknowledged(drivers, agents * rollouts)
  return { seconds, untilLast, processor }
}

/** One order after another: from a result sent to the next order received there is one decision and one commit. */
async function dispatchOneByOne(call: Call, drivers: readonly AgentsDriver[], connection: Connection) {
  await Promise.all(drivers.map((driver) => driver.tally({ reset: true, timed: true })))
  const floor = await commitLatencies(connection, samples)
  const size = { count: perDriver(agents, 0), width: 1, of: drivers.slice(0, 1) }
  await rollOut(call, { query: "process=p0" }, size)
  const latencies = (await talliesOf(drivers))[0]?.latencies.slice(50) ?? []
  return { latencies, floor: [...floor, ...(await commitLatencies(connection, samples))] }
}

/** Resolves once so many results were acknowledged. */
async function acknowledged(drivers: readonly AgentsDriver[], count: number): Promise<void> {
  while (sum((await talliesOf(drivers)).map((tally) => tally.acknowledged)) < count) await delay(20)
}

interface NatsSample {
  readonly connectSeconds: number
  readonly requestSeconds: number
  readonly megabytes: number
  readonly version: string
}

const data = await mkdtemp(join(tmpdir(), "signalbox-bench-fleet-"))
const ours = await withPostgres(async (fresh, _server, processId) => measure(await fresh(), data, processId))
await rm(data, { recursive: true, force: true })
const withNats = spawnSync("nats-server", ["--version"]).status === 0
if (!withNats) note("nats-server is missing, so NATS is left out: run bench/setup")
const nats = withNats
  ? await runContender<NatsSample>(new URL("nats.ts", import.meta.url), { connections: agents, perProcess })
  : undefined

const { median, min, max } = figuresOf(ours.seconds.slice(warmFrom - 1).map((value) => agents / value))
const processorOf = (of: keyof Processor) =>
  figuresOf(ours.processor.slice(warmFrom - 1).map((used) => used[of])).median
const natsRate = nats ? agents / nats.requestSeconds : undefined
const result = {
  bench: "fleet",
  runs: rollouts,
  unit: "tasks/s through agent sessions",
  agents,
  width,
  transport: tls ? "WebSocket over TLS" : "WebSocket, plain",
  ours: {
    median,
    min,
    max,
    first: round(agents / (ours.seconds[0] ?? 0)),
    processorMicrosecondsPerTask: {
      server: processorOf("server"),
      database: processorOf("database"),
      agents: processorOf("agents"),
    },
    secondsToLastAgent: ours.untilLast.map((value) => round(value)),
    enrolmentsPerSecond: round(agents / ours.enrolSeconds),
    connectionsPerSecond: round(agents / ours.connectSeconds),
    kilobytesPerAgent: round(((ours.settledMegabytes - ours.emptyMegabytes) * 1024) / agents),
    serverMegabytes: {
      empty: round(ours.emptyMegabytes),
      connected: round(ours.fullMegabytes),
      settled: round(ours.settledMegabytes),
      afterRollouts: round(ours.busyMegabytes),
    },
    idleProcessorPercent: round(ours.idlePercent),
    sessionsLost: ours.lost,
    dispatchMilliseconds: {
      samples: ours.latencies.length,
      p50: round(percentile(ours.latencies, 0.5)),
      p99: round(percentile(ours.latencies, 0.99)),
      floorP50: round(percentile(ours.floor, 0.5)),
      floorP99: round(percentile(ours.floor, 0.99)),
    },
  },
  peers: [],
  floor: nats
    ? {
        name: `nats-server ${nats.version}, request/reply in memory, nothing kept`,
        median: round(natsRate ?? 0),
        connectionsPerSecond: round(agents / nats.connectSeconds),
        kilobytesPerConnection: round((nats.megabytes * 1024) / agents),
      }
    : {},
  ratioToBestPeer: null,
  ratioToFloor: natsRate === undefined ? null : round(median / natsRate),
}
process.stdout.write(`${JSON.stringify(result)}\n`)
