/** From 10,000 tasks to very many, each size once: time should grow in line, memory should not. */
import { figuresOf, round, runContender, withPostgres, type Connection } from "../measure.ts"

export const scaleTasksMin = 100_000

interface Sample {
  readonly seconds: number
  readonly perSecond: number
  readonly planSeconds: number
  readonly residentMegabytes: number
  /** What the database grew by. */
  readonly bytesPerTask?: number
  readonly pauseMilliseconds?: number
  readonly resumeMilliseconds?: number
  readonly abortMilliseconds?: number
}

/** Prints the line of figures: the largest size is `ours`, the smaller ones stand beside it. */
export async function measureScale({ tasks, width }: { tasks: number; width: number }): Promise<void> {
  const sizes = [10_000, 100_000, tasks].filter((size, index, all) => all.indexOf(size) === index)
  const table: Array<{ readonly tasks: number; readonly sample: Sample }> = []
  let floor: Sample | undefined
  await withPostgres(async (fresh) => {
    for (const size of sizes) {
      const connection: Connection = await fresh()
      const input = { connection, tasks: size, width, rounds: 1, steered: size === tasks }
      const sample = await runContender<Sample>(new URL("ours.ts", import.meta.url), input)
      process.stderr.write(`${size} tasks: ${JSON.stringify(sample)}\n`)
      table.push({ tasks: size, sample })
    }
    floor = await runContender<Sample>(new URL("floor.ts", import.meta.url), {
      connection: await fresh(),
      tasks,
      rounds: 1,
    })
  })
  const last = table.at(-1)?.sample
  const first = table[0]?.sample
  const perSecond = last?.perSecond ?? 0
  const result = {
    bench: "orchestrator-scale",
    runs: 1,
    unit: "tasks/s",
    tasks,
    width,
    ours: { ...figuresOf([perSecond]), residentMegabytes: round(last?.residentMegabytes ?? 0) },
    sizes: table.map((row) => ({ ...row.sample, tasks: row.tasks })),
    rateToSmallest: round(perSecond / (first?.perSecond ?? 1)),
    steeringMilliseconds: {
      pause: round(last?.pauseMilliseconds ?? 0),
      resume: round(last?.resumeMilliseconds ?? 0),
      abort: round(last?.abortMilliseconds ?? 0),
    },
    peers: [],
    floor: { name: "plain SQL, the same rows, batches of 500, 1 connection", median: round(floor?.perSecond ?? 0) },
    ratioToBestPeer: null,
    ratioToFloor: round(perSecond / (floor?.perSecond ?? 1)),
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
}
