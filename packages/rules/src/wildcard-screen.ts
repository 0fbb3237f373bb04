import type { Check } from "./rule-index.ts"

/**
 * The wildcards of some checks as one text, so that asking all of them reads a line or two of memory instead of a dozen
 * objects each: the parts of each in turn, a gap between them where anything may stand, an end after the last.
 */
const gap = 0
const end = 1
const [gapText, endText] = [String.fromCharCode(gap), String.fromCharCode(end)]
/** No part may hold these: two have a meaning here, and texts of several lines are not screened. */
const ours = [gapText, endText, "\n"]
/** Texts up to this length are screened: longer ones would make the search for parts long. */
export const screenedLengthMax = 64

/** Undefined where a check begins with something else, or one with another path: nothing is gained then. */
export function packWildcards(checks: readonly Check[]): string | undefined {
  const path = checks[0]?.first?.path
  if (path === undefined) return undefined
  const packed = checks.map(({ first }) => (first?.path === path ? packOne(first.literals) : undefined))
  return packed.includes(undefined) ? undefined : packed.join("")
}

function packOne(literals: NonNullable<Check["first"]>["literals"]): string | undefined {
  if (literals === undefined || !literals.isWildcard) return undefined
  const { isEnd, isStart, parts } = literals
  if (parts.length === 0 || parts.some((part) => ours.some((character) => part.includes(character)))) return undefined
  return `${isStart ? "" : gapText}${parts.join(gapText)}${isEnd ? "" : gapText}${endText}`
}

/** Whether the text is one that can be screened: of one line, and short. */
export function canScreen(value: unknown): value is string {
  return typeof value === "string" && value.length <= screenedLengthMax && !value.includes("\n")
}

/**
 * Calls for each wildcard that the text fits, by its number.
 *
 * @param packed of `packWildcards`
 */
export function eachFit(packed: string, text: string, call: (number: number) => void): void {
  let from = 0
  for (let number = 0; from < packed.length; number++) {
    const at = fit(packed, from, text)
    if (at >= 0) call(number)
    from = packed.indexOf(endText, at >= 0 ? at : ~at) + 1
  }
}

/** Where the wildcard was when it was decided: itself where the text fits, its complement where it doesn't. */
function fit(packed: string, from: number, text: string): number {
  let [at, place] = [from, 0]
  let [gapAt, tried] = [-1, 0]
  for (;;) {
    const character = packed.charCodeAt(at)
    if (character === gap) {
      gapAt = at++
      if (packed.charCodeAt(at) === end) return at
      tried = place
    } else if (character === end && place === text.length) {
      return at
    } else if (character === text.charCodeAt(place)) {
      at++
      place++
    } else {
      // A part that isn't here may stand further on, after the last gap.
      if (gapAt < 0 || ++tried >= text.length) return ~at
      at = gapAt + 1
      place = tried
    }
  }
}
