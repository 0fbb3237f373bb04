/** Conditions and data that agree with one another more often than not, for properties of the index. */
import type { VariableType } from "@signalbox/expressions/variable-type"
import fc from "fast-check"

export const openTypes: Record<string, VariableType> = { event: "dyn" }
export const declaredTypes: Record<string, VariableType> = {
  event: {
    fields: {
      data: {
        fields: {
          n: "int",
          m: "double",
          s: "dyn",
          t: "dyn",
          flag: "bool",
          tags: { list: "string" },
          items: "dyn",
          nest: "dyn",
        },
      },
    },
  },
}

const text = fc.constantFrom("", "a", "b", "ab", "ba", "abc", "cab", "x\nb", "ab\ncb")
const number = fc.constantFrom(0, 1, 2, 3, 5, -1, 2.5)
const scalar = fc.oneof(text, number, fc.boolean(), fc.constant(null))
const oddValue = fc.oneof(scalar, fc.constant([]), fc.constant({}), fc.array(scalar, { maxLength: 3 }))

/** A value that mostly is what conditions expect of it. */
const mostly = <T>(expected: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 6, arbitrary: expected }, { weight: 1, arbitrary: oddValue })

const item = fc.record(
  { k: mostly(text), n: mostly(number), l: mostly(fc.array(number, { maxLength: 3 })) },
  { requiredKeys: [] },
)
const fields = fc.record(
  {
    n: mostly(number),
    m: mostly(number),
    s: mostly(text),
    t: mostly(text),
    flag: mostly(fc.boolean()),
    tags: mostly(fc.array(text, { maxLength: 3 })),
    items: mostly(fc.array(mostly(item), { maxLength: 3 })),
    nest: mostly(fc.record({ a: mostly(number), b: mostly(text) }, { requiredKeys: [] })),
  },
  { requiredKeys: [] },
)
export const datum = fc.record({
  event: fc.oneof({ weight: 12, arbitrary: fc.record({ data: fields }) }, { weight: 1, arbitrary: oddValue }),
})

const t = text.map((value) => JSON.stringify(value))
const n = number.map(String)
const texts = fc.constantFrom("event.data.s", "event.data.t", "event.data.nest.b", "event.data['s']")
const numbers = fc.constantFrom("event.data.n", "event.data.m", "event.data.nest.a", "event.data.items[0].n")
const order = fc.constantFrom("<", "<=", ">", ">=")
const same = fc.constantFrom("==", "!=")
const textCall = fc.constantFrom("startsWith", "endsWith", "contains")
const pattern = fc.constantFrom(
  ...["^a", "b$", "^a.*b$", "a.*b", "[ab]c", "^(a|b)$", "", "c+a", "^.b"],
  ...["^a.*c$", "^ab.*b.*$", ".*c.*b", "^.*a.*b.*c$", "b.*$", "^c.*a.*$"],
)

const ofItem = fc.oneof(
  fc.tuple(same, t).map(([sign, value]) => `i.k ${sign} ${value}`),
  fc.tuple(order, n).map(([sign, value]) => `i.n ${sign} ${value}`),
  fc.tuple(textCall, t).map(([call, value]) => `has(i.k) && i.k.${call}(${value})`),
  fc.tuple(order, n).map(([sign, value]) => `i.l.exists(j, j ${sign} ${value})`),
  fc.tuple(order, n).map(([sign, value]) => `i.n ${sign} ${value} && i.n < event.data.n`),
  fc.tuple(t, n).map(([a, b]) => `i.k == ${a} || i.n == ${b}`),
  fc.constantFrom("true", "i == 'a'", "has(i.n)", "!has(i.n)"),
)

const atom = fc.oneof(
  fc.tuple(texts, same, t).map((parts) => parts.join(" ")),
  fc.tuple(t, same, texts).map((parts) => parts.join(" ")),
  fc.tuple(numbers, same, n).map((parts) => parts.join(" ")),
  fc.tuple(numbers, order, n).map((parts) => parts.join(" ")),
  fc.tuple(n, order, numbers).map((parts) => parts.join(" ")),
  fc.tuple(numbers, n, n).map(([a, low, high]) => `${a} >= ${low} && ${a} < ${high}`),
  fc.tuple(texts, fc.array(t, { maxLength: 3 })).map(([a, list]) => `${a} in [${list.join(", ")}]`),
  fc.tuple(numbers, fc.array(n, { maxLength: 3 })).map(([a, list]) => `${a} in [${list.join(", ")}]`),
  fc.tuple(texts, textCall, t).map(([a, call, value]) => `${a}.${call}(${value})`),
  fc.tuple(texts, pattern).map(([a, value]) => `${a}.matches(${JSON.stringify(value)})`),
  fc.tuple(t, fc.constantFrom("event.data.tags", "event.data.nest")).map(([value, list]) => `${value} in ${list}`),
  fc.tuple(same, t).map(([sign, value]) => `event.data.tags.exists(x, x ${sign} ${value})`),
  fc.tuple(same, t).map(([sign, value]) => `event.data.tags.all(x, x ${sign} ${value})`),
  ofItem.map((body) => `event.data.items.exists(i, ${body})`),
  ofItem.map((body) => `event.data.items.all(i, ${body})`),
  fc.tuple(same, t).map(([sign, value]) => `event.data.s.lowerAscii() ${sign} ${value}`),
  fc.tuple(order, n).map(([sign, value]) => `size(event.data.tags) ${sign} ${value}`),
  fc.tuple(n, order, n).map(([a, sign, b]) => `event.data.n + ${a} ${sign} ${b}`.replaceAll(".5", "")),
  fc.constantFrom("event.data.flag", "event.data.flag == true", "event.data.s == event.data.t", "true", "false"),
  fc.constantFrom("event.data.n == null", "event.data.s != null", "event.data.tags[0] == 'a'"),
  fc
    .tuple(fc.constantFrom("data", "data.n", "data.s", "data.nest", "data.nest.a", "data.constructor"), fc.boolean())
    .map(([path, isThere]) => `${isThere ? "" : "!"}has(event.${path})`),
  fc
    .tuple(fc.constantFrom("n", "m"), order, n)
    .map((all) => `'${all[0]}' in event.data && event.data.${all.join(" ")}`),
  fc.tuple(textCall, t).map(([call, value]) => `'b' in event.data.nest && event.data.nest['b'].${call}(${value})`),
  fc
    .tuple(fc.constantFrom("n", "nest.a"), order, n)
    .map(([path, sign, value]) => `has(event.data.${path}) && event.data.${path} ${sign} ${value}`),
)

export const { condition } = fc.letrec<{ condition: string }>((tie) => ({
  condition: fc.oneof(
    { maxDepth: 3, depthSize: "small" },
    atom,
    fc
      .tuple(tie("condition"), fc.constantFrom("&&", "||"), tie("condition"))
      .map(([a, sign, b]) => `(${a}) ${sign} (${b})`),
    fc.tuple(tie("condition"), tie("condition")).map(([a, b]) => `(${a}) && (${b})`),
    tie("condition").map((a) => `!(${a})`),
    fc.tuple(tie("condition"), tie("condition"), tie("condition")).map(([a, b, c]) => `(${a}) ? (${b}) : (${c})`),
  ),
}))
