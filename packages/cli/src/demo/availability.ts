/**
 * What a prober saw, as figures. Pure. Times are milliseconds of one clock. A node counts as unavailable from the
 * first question that it didn't answer well until the last one: what lies between these was seen, nothing is assumed.
 */
export interface Span {
  readonly from: number
  readonly to: number
}

/** Successive answers of one node that were the same, folded. */
export interface Spell extends Span {
  /** What it answered, such as `v1`; undefined: no good answer. */
  readonly version: string | undefined
  /** Which process answered; another one after each restart. */
  readonly started: string | undefined
}

/** Adds one more look at a node to its spells. */
export function extendSpells(spells: Spell[], look: Omit<Spell, "from" | "to"> & { readonly at: number }): void {
  const last = spells.at(-1)
  const { at, version, started } = look
  if (last && last.version === version && last.started === started) spells[spells.length - 1] = { ...last, to: at }
  else spells.push({ from: at, to: at, version, started })
}

/** The parts of the spells that lie within a span of time. */
export function spellsWithin(spells: readonly Spell[], { from, to }: Span): Spell[] {
  return spells
    .filter((spell) => spell.from <= to && spell.to >= from)
    .map((spell) => ({ ...spell, from: Math.max(spell.from, from), to: Math.min(spell.to, to) }))
}

export function unavailableSpans(spells: readonly Spell[]): Span[] {
  return spells.filter((spell) => spell.version === undefined).map(({ from, to }) => ({ from, to }))
}

/**
 * How many spans overlap at most; ends belong to their span.
 *
 * @example overlapMax([{ from: 1, to: 3 }, { from: 3, to: 4 }]) // 2
 */
export function overlapMax(spans: readonly Span[]): number {
  const edges = spans.flatMap(({ from, to }) => [
    { at: from, change: 1 },
    { at: to, change: -1 },
  ])
  edges.sort((a, b) => a.at - b.at || b.change - a.change)
  let current = 0
  let most = 0
  for (const { change } of edges) {
    current += change
    most = Math.max(most, current)
  }
  return most
}
