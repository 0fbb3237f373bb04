/**
 * Rules and events in the shapes of event-ruler's own benchmark, which matches lots of a city: exact, prefix, suffix,
 * wildcard, numeric range, anything-but, items of arrays and nested fields. All made from a seed.
 */
export const shapes = ["exact", "prefix", "suffix", "wildcard", "range", "but", "array", "nested"] as const
export type Shape = (typeof shapes)[number]

export interface Lot {
  readonly properties: {
    readonly MAPBLKLOT: string
    readonly BLOCK_NUM: string
    readonly LOT_NUM: string
    readonly FROM_ST: string
    readonly STREET: string
    readonly ST_TYPE: string
    readonly ODD_EVEN: string
    readonly owner: { readonly kind: string; readonly address: { readonly zip: string; readonly floor: number } }
  }
  readonly geometry: {
    readonly type: string
    readonly firstCoordinates: { readonly x: number; readonly y: number }
    readonly coordinates: ReadonlyArray<{ readonly x: number; readonly y: number; readonly z: number }>
  }
}

export interface LotEvent {
  readonly type: string
  readonly data: Lot
}

/** `a` and `b` are what the shape compares with. */
export interface RuleSpec {
  readonly id: string
  /** An event type, or all. */
  readonly type: string
  readonly shape: Shape
  readonly a: string
  readonly b: string
  readonly low: number
  readonly high: number
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

type Random = () => number

const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)] as T
const digits = (random: Random, count: number): string =>
  Array.from({ length: count }, () => Math.floor(random() * 10)).join("")
const syllables = [
  "BA",
  "CHE",
  "DO",
  "FUL",
  "GAR",
  "HY",
  "JEF",
  "KEN",
  "LOM",
  "MA",
  "NUT",
  "PAR",
  "RI",
  "SON",
  "TON",
  "VA",
]
const street = (random: Random, count: number): string =>
  Array.from({ length: count }, () => pick(random, syllables)).join("")
const streetTypes = ["ST", "AVE", "BLVD", "CT", "DR", "LN", "PL", "RD", "TER", "WAY"]
const coordinate = (random: Random): number => Number((-122.5 + random() * 0.2).toFixed(8))

export const typeOf = (index: number): string => `lot.changed${index}`

export function makeEvents(seed: number, count: number, types: number): LotEvent[] {
  const random = randomOf(seed)
  return Array.from({ length: count }, () => ({ type: typeOf(Math.floor(random() * types)), data: makeLot(random) }))
}

function makeLot(random: Random): Lot {
  const coordinates = Array.from({ length: 4 }, () => ({ x: coordinate(random), y: 37.7 + random() * 0.1, z: 0 }))
  return {
    properties: {
      MAPBLKLOT: digits(random, 7),
      BLOCK_NUM: digits(random, 4),
      LOT_NUM: digits(random, 3),
      FROM_ST: String(Math.floor(random() * 3000)),
      STREET: street(random, 4),
      ST_TYPE: pick(random, streetTypes),
      ODD_EVEN: pick(random, ["O", "E"]),
      owner: {
        kind: pick(random, ["person", "company"]),
        address: { zip: digits(random, 5), floor: Math.floor(random() * 20) },
      },
    },
    geometry: { type: "Polygon", firstCoordinates: { x: coordinate(random), y: 37.7 + random() * 0.1 }, coordinates },
  }
}

/** Values that a rule of this shape compares with. */
function makeSpec(random: Random, id: string, { shape, type }: { shape: Shape; type: string }): RuleSpec {
  const low = coordinate(random)
  const spec = { id, type, shape, a: "", b: "", low, high: low + 0.000_02 }
  const wildcards = [
    () => `${digits(random, 3)}*${digits(random, 1)}*${digits(random, 1)}`,
    () => `*${digits(random, 5)}`,
    () => `${digits(random, 1)}*${digits(random, 2)}*${digits(random, 1)}*${digits(random, 1)}`,
    () => `${digits(random, 5)}*`,
  ]
  switch (shape) {
    case "exact":
      return { ...spec, a: digits(random, 7) }
    case "prefix":
    case "suffix":
      return { ...spec, a: street(random, 3) }
    case "wildcard":
      return { ...spec, a: pick(random, wildcards)() }
    case "range":
      return spec
    case "but":
      return { ...spec, a: pick(random, streetTypes), b: digits(random, 4) }
    case "array":
      return { ...spec, low: coordinate(random) }
    case "nested":
      return { ...spec, a: pick(random, ["person", "company"]), b: digits(random, 5), low: Math.floor(random() * 20) }
  }
}

/** What the hot rules ask for, so that each event matches a known number of them however many others there are. */
export function makeHotRules(events: readonly LotEvent[], wanted: readonly Shape[], count: number): RuleSpec[] {
  const lots = events.map((event) => event.data)
  return Array.from({ length: count }, (_, index) => {
    const lot = lots[(index * 37) % lots.length] as Lot
    const shape = wanted[index % wanted.length] as Shape
    const [item] = lot.geometry.coordinates
    const { x } = lot.geometry.firstCoordinates
    const { BLOCK_NUM, MAPBLKLOT, STREET, owner } = lot.properties
    const spec = { id: `hot${index}`, type: "*", shape, a: "", b: "", low: x - 0.02, high: x + 0.02 }
    switch (shape) {
      case "exact":
        return { ...spec, a: MAPBLKLOT }
      case "prefix":
        return { ...spec, a: STREET.slice(0, 2) }
      case "suffix":
        return { ...spec, a: STREET.slice(-2) }
      case "wildcard":
        return { ...spec, a: `${MAPBLKLOT.slice(0, 1)}*${MAPBLKLOT.slice(3, 4)}*` }
      case "range":
        return spec
      case "but":
        return { ...spec, a: "none", b: BLOCK_NUM }
      case "array":
        return { ...spec, low: item?.x ?? 0 }
      case "nested":
        return { ...spec, a: owner.kind, b: owner.address.zip, low: 0 }
    }
  })
}

/** `count` rules, none of which matches any of these events. */
export function makeColdRules(
  events: readonly LotEvent[],
  {
    count,
    matches,
    seed,
    types,
    wanted,
  }: {
    readonly seed: number
    readonly count: number
    readonly types: number
    readonly wanted: readonly Shape[]
    readonly matches: (spec: RuleSpec) => (lot: Lot) => boolean
  },
): RuleSpec[] {
  const random = randomOf(seed)
  const byType = new Map<string, Lot[]>()
  for (const { data, type } of events) byType.set(type, [...(byType.get(type) ?? []), data])
  const made: RuleSpec[] = []
  while (made.length < count) {
    const at = made.length
    const place = { shape: wanted[at % wanted.length] as Shape, type: typeOf(Math.floor(random() * types)) }
    const spec = makeSpec(random, `cold${at}`, place)
    const test = matches(spec)
    if (!(byType.get(spec.type) ?? []).some(test)) made.push(spec)
  }
  return made
}
