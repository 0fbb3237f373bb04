/**
 * 10,000 no-op tasks, at most 100 in flight, each durably started and finished (fsync on): Signalbox beside
 * graphile-worker, pg-boss and BullMQ, and the floor of plain SQL. Contenders run in turns, each in a process of its own
 * that does the whole work several times: the last time counts, since servers run for weeks and all of these are compiled
 * while they run; the first is stated beside it. With `--tasks 1000000` the
 * question is another: how time and memory grow, and how soon a pause and an abort take effect (scale.ts).
 */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { figuresOf, round, runContender, withPostgres, type Connection } from "../measure.ts"
import { measureScale, scaleTasksMin } from "./scale.ts"

const argument = (name: string, otherwise: number): number => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? otherwise : Number(process.argv[at + 1])
}
const tasks = argument("tasks", 10_000)
if (tasks >= scaleTasksMin) {
  await measureScale({ tasks, width: argument("width", 1_000) })
  process.exit(0)
}
const width = argument("width", 100)
const runs = argument("runs", 5)
const rounds = argument("rounds", 5)

const keeps: Record<string, string> = {
  "graphile-worker": "local queue 1,000, batched completion; deletes a finished job, keeps no output",
  "pg-boss": "batches of 100, LISTEN/NOTIFY; keeps the finished job and its output",
  bullmq: "append-only file synced every second: may lose a second of work; keeps the finished job and its output",
}

const withRedis = spawnSync("redis-server", ["--version"]).status === 0
const peers = Object.keys(keeps).filter((name) => name !== "bullmq" || withRedis)
if (!withRedis) process.stderr.write("redis-server is missing, so BullMQ is left out: run bench/setup\n")

interface Sample {
  readonly perSecond: number
  readonly firstPerSecond: number
  readonly planSeconds?: number
  readonly inFlightMax?: number
  readonly residentMegabytes?: number
}

const samples = new Map<string, Sample[]>(["ours", "floor", ...peers].map((name) => [name, []]))
await withPostgres(async (fresh) => {
  for (let run = 1; run <= runs; run++) {
    for (const [name, all] of samples) {
      const connection: Connection = await fresh()
      const sample = await runContender<Sample>(new URL(`${name}.ts`, import.meta.url), {
        connection,
        tasks,
        width,
        rounds,
      })
      all.push(sample)
      process.stderr.write(
        `run ${run}: ${name} ${round(sample.perSecond)}/s, at first ${round(sample.firstPerSecond)}/s\n`,
      )
    }
  }
})

const of = (name: string, member: keyof Sample = "perSecond") =>
  figuresOf((samples.get(name) ?? []).map((sample) => sample[member] ?? 0))
const version = (name: string): string =>
  (
    JSON.parse(readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url), "utf8")) as {
      version: string
    }
  ).version
const ours = of("ours")
const floor = of("floor")
const peerFigures = peers.map((name) => ({
  name,
  version: version(name),
  ...of(name),
  first: of(name, "firstPerSecond").median,
  keeps: keeps[name],
}))
const best = Math.max(...peerFigures.map((peer) => peer.median))

const result = {
  bench: "orchestrator",
  runs,
  unit: "tasks/s",
  tasks,
  width,
  rounds,
  ours: {
    ...ours,
    first: of("ours", "firstPerSecond").median,
    keeps: "state, result and output of every task, and its events",
    planSeconds: of("ours", "planSeconds").median,
    inFlightMax: of("ours", "inFlightMax").max,
    residentMegabytes: of("ours", "residentMegabytes").max,
  },
  peers: [
    ...peerFigures,
    { name: "restate", version: "1.7.12", median: 980, quoted: true },
    { name: "dbos", version: "5.3.0", median: 357, quoted: true },
  ],
  floor: {
    name: "plain SQL, the same rows, batches of 500, 1 connection",
    ...floor,
    first: of("floor", "firstPerSecond").median,
  },
  ratioToBestPeer: round(ours.median / best),
  ratioToFloor: round(ours.median / floor.median),
}
process.stdout.write(`${JSON.stringify(result)}\n`)
