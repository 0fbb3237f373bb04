/** One contender with so many rules: checks what matches, then measures events a second of processor time. */
import { createHash } from "node:crypto"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { contenderInput, finish } from "../measure.ts"
import { closureOf, contenders, type Match } from "./contenders.ts"
import { makeColdRules, makeEvents, makeHotRules, type LotEvent, type Shape } from "./shapes.ts"

export interface Task {
  readonly contender: string
  readonly rules: number
  readonly types: number
  readonly shapes: readonly Shape[]
  readonly seed: number
  /** Events whose matches are compared with the other contenders'. */
  readonly checked: number
  readonly seconds: number
  /** How often the process measures. */
  readonly times: number
  /** How many of them are taken in turn while the clock runs. */
  readonly events: number
}

export interface Measured {
  /** One for each time that was measured. */
  readonly perSecond: readonly number[]
  readonly digest: string
  readonly matchesPerEvent: number
  readonly buildMilliseconds: number
}

const task = contenderInput<Task>()
const events = makeEvents(task.seed, 500, task.types)
const hot = makeHotRules(events, task.shapes, 10)
const wanted = { seed: task.seed + 1, count: task.rules - hot.length, types: task.types, wanted: task.shapes }
const specs = [...hot, ...makeColdRules(events, { ...wanted, matches: closureOf })]
// As if they had just come in: parsed JSON, strings and all.
const given = events.map((event) => JSON.parse(JSON.stringify(event)) as LotEvent)

const cpuSeconds = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1e6
}

async function digestOf(match: Match, list: readonly LotEvent[]): Promise<{ digest: string; matches: number }> {
  const hash = createHash("sha256")
  let matches = 0
  for (const event of list) {
    const ids = (await match(event)).toSorted()
    matches += ids.length
    hash.update(`${ids.join()}\n`)
  }
  return { digest: hash.digest("hex").slice(0, 16), matches }
}

async function measure(match: Match, seconds: number): Promise<number> {
  let done = 0
  const from = cpuSeconds()
  let spent = 0
  // Looks at the clock after as many events as take about a millisecond.
  let batch = 1
  let at = 0
  while (spent < seconds) {
    for (let index = 0; index < batch; index++) {
      const event = given[at++ % task.events]
      const matched = event === undefined ? [] : match(event)
      if (matched instanceof Promise) await matched
    }
    done += batch
    const now = cpuSeconds() - from
    if (now - spent < 0.005 && batch < 100_000) batch *= 2
    spent = now
  }
  return done / spent
}

const make = contenders[task.contender]
if (make === undefined) throw new Error(`unknown contender ${task.contender}`)
const begin = cpuSeconds()
const match = make(specs)
const buildMilliseconds = (cpuSeconds() - begin) * 1000
const { digest, matches } = await digestOf(match, given.slice(0, task.checked))
// What making the rules left behind is collected before the clock runs: its threads count as processor time, too.
setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void
await measure(match, Math.max(1, task.seconds))
collect()
await measure(match, task.seconds)
const perSecond: number[] = []
for (let time = 0; time < task.times; time++) perSecond.push(await measure(match, task.seconds))
finish({ perSecond, digest, matchesPerEvent: matches / task.checked, buildMilliseconds } satisfies Measured)
