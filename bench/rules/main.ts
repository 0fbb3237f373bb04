/**
 * One event against 10 to 100,000 rules, with the rules that match held constant; ours and its peers in turns, each in a
 * process of its own, in events a second of processor time. Then each shape of rule by itself, what a change of the set
 * costs, and what a call costs that no rule waits for. The headline is taken by as many processes of each as `--runs` says (5);
 * all else by one, which measures three times. `--part headline|scaling|libraries|shapes` takes one part.
 */
import { figuresOf, round, runContender, type Figures } from "../measure.ts"
import type { Changes } from "./changes-process.ts"
import type { Measured, Task } from "./contender-process.ts"
import { shapes } from "./shapes.ts"

const argument = (name: string, otherwise: number): number => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? otherwise : Number(process.argv[at + 1])
}
const runs = argument("runs", 5)
const seed = argument("seed", 20261122)
const seconds = argument("seconds", 1)

const script = new URL("contender-process.ts", import.meta.url)
const say = (line: string): boolean => process.stderr.write(`${line}\n`)

const base = { seed, shapes, types: 100, events: 500, checked: 500, seconds, times: 1 } as const
/** One process, which measures so often. */
const once = { times: 3 } as const

/** Runs of one task by each contender, in turns; all have to find the same matches. */
async function compare(
  names: readonly string[],
  task: Omit<Task, "contender">,
  times: number,
): Promise<Map<string, Figures & { readonly build: number; readonly matches: number }>> {
  const rates = new Map<string, Measured[]>(names.map((name) => [name, []]))
  for (let run = 0; run < times; run++) {
    for (const name of names) {
      const measured = await runContender<Measured>(script, { ...task, contender: name })
      rates.get(name)?.push(measured)
    }
  }
  const digests = new Set([...rates.values()].flat().map(({ digest }) => digest))
  if (digests.size !== 1) throw new Error(`the contenders don't find the same matches: ${[...digests].join(", ")}`)
  return new Map(
    [...rates].map(([name, all]) => [
      name,
      {
        ...figuresOf(all.flatMap(({ perSecond }) => perSecond)),
        build: figuresOf(all.map(({ buildMilliseconds }) => buildMilliseconds)).median,
        matches: all[0]?.matchesPerEvent ?? 0,
      },
    ]),
  )
}

const show = (what: string, found: Awaited<ReturnType<typeof compare>>): void => {
  for (const [name, { build, matches, max, median, min }] of found) {
    say(`${what} | ${name} | ${median} | ${min} to ${max} | built in ${build} ms | ${matches} matches an event`)
  }
}

const [ours, closures] = ["Signalbox", "closures by type"] as const
const libraries = ["json-logic-js", "@marcbachmann/cel-js", "@bufbuild/cel", "json-rules-engine"] as const

say(`seed ${seed}`)
const part = process.argv.includes("--part") ? process.argv[process.argv.indexOf("--part") + 1] : "all"
const isWanted = (name: string): boolean => part === "all" || part === name

const headline: Awaited<ReturnType<typeof compare>> = new Map()
async function addToHeadline(names: readonly string[], task: Omit<Task, "contender">, times: number): Promise<void> {
  const found = await compare(names, task, times)
  show("10000 rules", found)
  for (const [name, figures] of found) headline.set(name, figures)
}
await addToHeadline([ours, closures], { ...base, rules: 10_000 }, runs)

const scaling: Array<{ rules: number; types: number; events: number } & Figures> = []
for (const [types, events] of isWanted("scaling")
  ? ([
      [100, 10],
      [100, 500],
      [1, 500],
    ] as const)
  : []) {
  for (const rules of [10, 1000, 10_000, 100_000]) {
    const found = await compare([ours], { ...base, ...once, types, events, rules }, 1)
    show(`${rules} rules of ${types} types, ${events} events`, found)
    const { max = 0, median = 0, min = 0 } = found.get(ours) ?? {}
    scaling.push({ rules, types, events, median, min, max })
  }
}
if (isWanted("libraries")) {
  show("10 rules", await compare([ours, ...libraries], { ...base, rules: 10, checked: 100 }, 1))
  const figures = headline.get(ours)
  await addToHeadline([ours, ...libraries], { ...base, rules: 10_000, checked: 5 }, 1)
  // Of the same sitting as the closures.
  if (figures) headline.set(ours, figures)
}
for (const shape of isWanted("shapes") ? shapes : []) {
  const task = { ...base, ...once, types: 1, shapes: [shape], rules: 10_000, seconds: seconds / 3 }
  show(`10000 rules, ${shape} alone`, await compare([ours, closures], task, 1))
}
const changes = await runContender<Changes>(new URL("changes-process.ts", import.meta.url), { seed })
say(JSON.stringify(changes))

const figuresFor = (name: string): Figures => {
  const { max = 0, median = 0, min = 0 } = headline.get(name) ?? {}
  return { median, min, max }
}
const peers = libraries.map((name) => ({ name, ...figuresFor(name) }))
const best = Math.max(...peers.map(({ median }) => median), 0)
const floor = figuresFor(closures)
/** How many times longer an event takes among 100,000 rules than among 10. */
const growth = scaling
  .filter(({ rules }) => rules === 10)
  .map(({ events, median, types }) => {
    const many = scaling.find((each) => each.rules === 100_000 && each.events === events && each.types === types)
    return { types, events, times: many ? round(median / many.median) : null }
  })
const result = {
  ...{ bench: "rules", runs, unit: "events/s", rules: 10_000, seed },
  ours: { ...figuresFor(ours), scaling, growth, ...changes },
  peers,
  floor: { name: "hand-written closures behind an index on type", ...floor },
  ratioToBestPeer: best === 0 ? null : round(figuresFor(ours).median / best),
  ratioToFloor: round(figuresFor(ours).median / floor.median),
}
process.stdout.write(`${JSON.stringify(result)}\n`)
