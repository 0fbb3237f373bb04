/** The same rules for each contender: ours as CEL behind the index, the others one after the other. */
import { celEnv, parse as parseCel, plan } from "@bufbuild/cel"
import { Environment } from "@marcbachmann/cel-js"
import jsonLogic from "json-logic-js"
import { Engine } from "json-rules-engine"
import { compileRule } from "@signalbox/rules/compile-rule"
import { createRuleSet } from "@signalbox/rules/rule-set"
import type { RuleTrigger } from "@signalbox/rules/rule-source"
import type { Lot, LotEvent, RuleSpec } from "./shapes.ts"

/** The ids of the rules that match. */
export type Match = (event: LotEvent) => string[] | Promise<string[]>

export const contenders: Readonly<Record<string, (specs: readonly RuleSpec[]) => Match>> = {
  Signalbox: signalbox,
  "closures by type": closuresByType,
  "json-logic-js": jsonLogicLoop,
  "@marcbachmann/cel-js": celJsLoop,
  "@bufbuild/cel": bufbuildLoop,
  "json-rules-engine": rulesEngine,
}

const text = (value: string): string => JSON.stringify(value)
const escaped = (part: string): string => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
const patternOf = (wildcard: string): string => `^${wildcard.split("*").map(escaped).join(".*")}$`

function celOf({ a, b, high, low, shape }: RuleSpec): string {
  const double = (value: number): string => (Number.isInteger(value) ? `${value}.0` : String(value))
  switch (shape) {
    case "exact":
      return `event.data.properties.MAPBLKLOT == ${text(a)}`
    case "prefix":
      return `event.data.properties.STREET.startsWith(${text(a)})`
    case "suffix":
      return `event.data.properties.STREET.endsWith(${text(a)})`
    case "wildcard":
      return `event.data.properties.MAPBLKLOT.matches(${text(patternOf(a))})`
    case "range":
      return `event.data.geometry.firstCoordinates.x > ${double(low)} && event.data.geometry.firstCoordinates.x < ${double(high)}`
    case "but":
      return `event.data.properties.ST_TYPE != ${text(a)} && event.data.properties.BLOCK_NUM == ${text(b)}`
    case "array":
      return `event.data.geometry.coordinates.exists(c, c.x == ${double(low)})`
    case "nested":
      return `event.data.properties.owner.kind == ${text(a)} && event.data.properties.owner.address.zip == ${text(b)} && event.data.properties.owner.address.floor >= ${double(low)}`
  }
}

const variables = { event: "dyn" } as const

export const sourceOf = (spec: RuleSpec) => ({
  ...{ id: spec.id, version: 1, gating: false, variables, when: celOf(spec) },
  triggers: [{ on: "event", name: spec.type }] satisfies RuleTrigger[],
})

function signalbox(specs: readonly RuleSpec[]): Match {
  const set = createRuleSet(specs.map((spec) => compileRule(sourceOf(spec))))
  return (event) => {
    const { matched } = set.match([{ on: "event", name: event.type }], { event })
    return matched.map((rule) => rule.id)
  }
}

/** As somebody would write it by hand. */
export function closureOf({ a, b, high, low, shape }: RuleSpec): (lot: Lot) => boolean {
  const pattern = shape === "wildcard" ? new RegExp(patternOf(a)) : undefined
  switch (shape) {
    case "exact":
      return (lot) => lot.properties.MAPBLKLOT === a
    case "prefix":
      return (lot) => lot.properties.STREET.startsWith(a)
    case "suffix":
      return (lot) => lot.properties.STREET.endsWith(a)
    case "wildcard":
      return (lot) => pattern?.test(lot.properties.MAPBLKLOT) === true
    case "range":
      return (lot) => lot.geometry.firstCoordinates.x > low && lot.geometry.firstCoordinates.x < high
    case "but":
      return (lot) => lot.properties.ST_TYPE !== a && lot.properties.BLOCK_NUM === b
    case "array":
      return (lot) => lot.geometry.coordinates.some((each) => each.x === low)
    case "nested":
      return ({ properties: { owner } }) => owner.kind === a && owner.address.zip === b && owner.address.floor >= low
  }
}

interface Tested<T> {
  readonly id: string
  readonly test: T
}

function byType<T>(
  specs: readonly RuleSpec[],
  make: (spec: RuleSpec) => T,
): (type: string) => ReadonlyArray<Tested<T>> {
  const lists = new Map<string, Array<Tested<T>>>()
  for (const spec of specs) {
    const list = lists.get(spec.type) ?? []
    lists.set(spec.type, list)
    list.push({ id: spec.id, test: make(spec) })
  }
  const all = lists.get("*") ?? []
  const joined = new Map([...lists].map(([type, list]) => [type, [...all, ...list]]))
  return (type) => joined.get(type) ?? all
}

function closuresByType(specs: readonly RuleSpec[]): Match {
  const rulesOf = byType(specs, closureOf)
  return (event) => {
    const matched: string[] = []
    for (const { id, test } of rulesOf(event.type)) if (test(event.data)) matched.push(id)
    return matched
  }
}

/** The libraries have no index: each rule is asked for its event type, too. */
function looped(specs: readonly RuleSpec[], make: (spec: RuleSpec) => (event: LotEvent) => unknown): Match {
  const rules = specs.map((spec) => ({ id: spec.id, test: make(spec) }))
  return (event) => {
    const matched: string[] = []
    for (const { id, test } of rules) if (test(event) === true) matched.push(id)
    return matched
  }
}

const typedCelOf = (spec: RuleSpec): string =>
  spec.type === "*" ? celOf(spec) : `event.type == ${text(spec.type)} && ${celOf(spec)}`

function bufbuildLoop(specs: readonly RuleSpec[]): Match {
  const environment = celEnv()
  return looped(specs, (spec) => {
    const run = plan(environment, parseCel(typedCelOf(spec)))
    return (event) => run({ event: event as never })
  })
}

function celJsLoop(specs: readonly RuleSpec[]): Match {
  const environment = new Environment().registerVariable("event", "map")
  return looped(specs, (spec) => {
    const run = environment.parse(typedCelOf(spec))
    return (event) => run({ event })
  })
}

function jsonLogicLoop(specs: readonly RuleSpec[]): Match {
  jsonLogic.add_operation("prefix", (value: string, part: string) => value.startsWith(part))
  jsonLogic.add_operation("suffix", (value: string, part: string) => value.endsWith(part))
  const patterns = new Map<string, RegExp>()
  jsonLogic.add_operation("wildcard", (value: string, part: string) => {
    const pattern = patterns.get(part) ?? new RegExp(patternOf(part))
    patterns.set(part, pattern)
    return pattern.test(value)
  })
  return looped(specs, (spec) => {
    const logic = logicOf(spec)
    const rule = spec.type === "*" ? logic : { and: [{ "===": [{ var: "type" }, spec.type] }, logic] }
    return (event) => jsonLogic.apply(rule as never, event)
  })
}

function logicOf({ a, b, high, low, shape }: RuleSpec): unknown {
  const field = (path: string) => ({ var: `data.${path}` })
  switch (shape) {
    case "exact":
      return { "===": [field("properties.MAPBLKLOT"), a] }
    case "prefix":
    case "suffix":
      return { [shape]: [field("properties.STREET"), a] }
    case "wildcard":
      return { wildcard: [field("properties.MAPBLKLOT"), a] }
    case "range":
      return { "<": [low, field("geometry.firstCoordinates.x"), high] }
    case "but":
      return { and: [{ "!==": [field("properties.ST_TYPE"), a] }, { "===": [field("properties.BLOCK_NUM"), b] }] }
    case "array":
      return { some: [field("geometry.coordinates"), { "===": [{ var: "x" }, low] }] }
    case "nested":
      return {
        and: [
          { "===": [field("properties.owner.kind"), a] },
          { "===": [field("properties.owner.address.zip"), b] },
          { ">=": [field("properties.owner.address.floor"), low] },
        ],
      }
  }
}

function rulesEngine(specs: readonly RuleSpec[]): Match {
  const engine = new Engine([], { allowUndefinedFacts: true })
  engine.addOperator("prefix", (value: string, part: string) => value.startsWith(part))
  engine.addOperator("suffix", (value: string, part: string) => value.endsWith(part))
  engine.addOperator("wildcard", (value: string, part: RegExp) => part.test(value))
  engine.addOperator("someX", (value: Lot["geometry"]["coordinates"], x: number) => value.some((each) => each.x === x))
  for (const spec of specs) {
    const typed = spec.type === "*" ? [] : [{ fact: "type", operator: "equal", value: spec.type, priority: 10 }]
    engine.addRule({ conditions: { all: [...typed, ...factsOf(spec)] }, event: { type: spec.id } })
  }
  return async (event) => {
    const { events } = await engine.run({ type: event.type, data: event.data })
    return events.map((each) => each.type)
  }
}

function factsOf({ a, b, high, low, shape }: RuleSpec) {
  const fact = (path: string, operator: string, value: unknown) => ({
    fact: "data",
    path: `$.${path}`,
    operator,
    value,
  })
  switch (shape) {
    case "exact":
      return [fact("properties.MAPBLKLOT", "equal", a)]
    case "prefix":
    case "suffix":
      return [fact("properties.STREET", shape, a)]
    case "wildcard":
      return [fact("properties.MAPBLKLOT", "wildcard", new RegExp(patternOf(a)))]
    case "range":
      return [
        fact("geometry.firstCoordinates.x", "greaterThan", low),
        fact("geometry.firstCoordinates.x", "lessThan", high),
      ]
    case "but":
      return [fact("properties.ST_TYPE", "notEqual", a), fact("properties.BLOCK_NUM", "equal", b)]
    case "array":
      return [fact("geometry.coordinates", "someX", low)]
    case "nested":
      return [
        fact("properties.owner.kind", "equal", a),
        fact("properties.owner.address.zip", "equal", b),
        fact("properties.owner.address.floor", "greaterThanInclusive", low),
      ]
  }
}
