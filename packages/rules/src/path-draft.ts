import type { Bucket, PathNode, PathSuspects, Suspects, ValueIndex } from "./rule-index.ts"

/** Up to this many fields are looked up by name; with more it may be quicker to go through those that there are. */
const lookupsMax = 16

/** Owns: a field of an index while it is built. */
export class PathDraft {
  readonly #step: string | number
  readonly #children = new Map<string | number, PathDraft>()
  value: ValueIndex | undefined
  whole: ValueIndex | undefined
  present: Bucket | undefined
  absent: Bucket | undefined
  readonly suspects: PathSuspects = {
    dependent: noSuspects(),
    unguarded: noSuspects(),
    unguardedBelow: noSuspects(),
    below: noSuspects(),
  }

  constructor(step: string | number = "") {
    this.#step = step
  }

  get isEmpty(): boolean {
    return this.#children.size === 0 && (this.present ?? this.value ?? this.whole) === undefined
  }

  child(step: string | number): PathDraft {
    const known = this.#children.get(step)
    if (known !== undefined) return known
    const made = new PathDraft(step)
    this.#children.set(step, made)
    return made
  }

  /** @param next of the same parent */
  build(next?: PathNode): PathNode {
    const children: PathNode[] = []
    for (const child of [...this.#children.values()].toReversed()) children.push(child.build(children.at(-1)))
    const { absent, present, suspects, value, whole } = this
    const step = this.#step
    return {
      step,
      isPlain: typeof step === "string" && !(step in Object.prototype),
      value,
      first: children.at(-1),
      next,
      rare: (whole ?? present ?? absent) === undefined ? undefined : { whole, present, absent },
      wide: children.length > lookupsMax ? wideOf(children) : undefined,
      suspects,
    }
  }
}

function wideOf(children: readonly PathNode[]): NonNullable<PathNode["wide"]> {
  return {
    byStep: new Map(children.map((child) => [child.step, child])),
    whenAbsent: children.filter(({ rare }) => rare?.absent !== undefined),
  }
}

export function noSuspects(): Suspects {
  return { entries: [], mark: 0 }
}
