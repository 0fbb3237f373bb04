/** What 100,000 rules cost to compile, to index and to change, wildcards that overlap, and a call that no rule waits for. */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { compileRule } from "@signalbox/rules/compile-rule"
import { createRuleSet } from "@signalbox/rules/rule-set"
import type { RuleTrigger } from "@signalbox/rules/rule-source"
import { contenderInput, finish, percentile, round } from "../measure.ts"
import { closureOf, sourceOf } from "./contenders.ts"
import { makeColdRules, makeEvents, shapes } from "./shapes.ts"

export interface Changes {
  readonly compileMicrosecondsEach: number
  readonly index100000Milliseconds: number
  readonly heapMegabytes: number
  readonly addMilliseconds: { readonly median: number; readonly p99: number; readonly max: number }
  readonly removeMilliseconds: { readonly median: number; readonly p99: number; readonly max: number }
  readonly callWithoutRulesNanoseconds: number
  readonly overlappingWildcards: { readonly indexMilliseconds: number; readonly eventsPerSecond: number }
}

const { seed } = contenderInput<{ readonly seed: number }>()
const cpuMilliseconds = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1000
}
function spent(work: () => void): number {
  const from = cpuMilliseconds()
  work()
  return cpuMilliseconds() - from
}

const events = makeEvents(seed, 500, 1)
const specs = makeColdRules(events, { seed, count: 101_000, types: 1, wanted: shapes, matches: closureOf })
setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void
const heapUsed = (): number => {
  collect()
  return process.memoryUsage().heapUsed
}
const heapBefore = heapUsed()
let rules: Array<ReturnType<typeof compileRule>> = []
const compile = spent(() => (rules = specs.map((spec) => compileRule(sourceOf(spec)))))
let set = createRuleSet([])
const index = spent(() => (set = createRuleSet(rules.slice(0, 100_000))))
const heapMegabytes = (heapUsed() - heapBefore) / 2 ** 20

const adds = rules.slice(100_000).map((rule) => spent(() => (set = set.with(rule))))
const removes = rules.slice(0, 1000).map((rule) => spent(() => (set = set.without(rule.id))))
const spread = (all: readonly number[]) => ({
  median: round(percentile(all, 0.5)),
  p99: round(percentile(all, 0.99)),
  max: round(Math.max(...all)),
})

const unknown: readonly RuleTrigger[] = [{ on: "before", name: "executions.create" }]
let matched = 0
const calls = 5_000_000
const once = (): void => {
  for (let call = 0; call < calls; call++) matched += set.concerns(unknown) ? 1 : set.match(unknown, {}).matched.length
}
once()
const callWithout = (spent(once) / calls) * 1e6
if (matched > 0) throw new Error("a rule was found where there is none")

/** Wildcards that all share their parts: what an automaton of all of them together would multiply. */
function overlapping(): Changes["overlappingWildcards"] {
  const letters = "abcdefghij"
  const made = Array.from({ length: 10_000 }, (_, at) => {
    const parts = [at % 10, Math.floor(at / 10) % 10, Math.floor(at / 100) % 10, Math.floor(at / 1000)]
    const pattern = `^.*${parts.map((part) => letters[part]).join(".*")}.*$`
    const triggers: RuleTrigger[] = [{ on: "event", name: "x" }]
    const when = `event.data.text.matches("${pattern}")`
    return compileRule({ id: `w${at}`, version: 1, gating: false, variables: { event: "dyn" }, triggers, when })
  })
  let wildcards = createRuleSet([])
  const indexMilliseconds = spent(() => (wildcards = createRuleSet(made)))
  const event = { event: { data: { text: "jihgfedcba" } } }
  let count = 0
  const rounds = 300
  const search = (): void => {
    for (let round = 0; round < rounds; round++)
      count += wildcards.match([{ on: "event", name: "x" }], event).matched.length
  }
  search()
  const each = spent(search) / rounds
  return { indexMilliseconds: round(indexMilliseconds), eventsPerSecond: round(1000 / each) }
}

finish({
  compileMicrosecondsEach: round((compile / rules.length) * 1000),
  index100000Milliseconds: round(index),
  heapMegabytes: round(heapMegabytes),
  addMilliseconds: spread(adds),
  removeMilliseconds: spread(removes),
  callWithoutRulesNanoseconds: round(callWithout),
  overlappingWildcards: overlapping(),
} satisfies Changes)
