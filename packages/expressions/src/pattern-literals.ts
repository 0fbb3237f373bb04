/** What a pattern demands of a text, as far as it is written out. */
export interface PatternLiterals {
  /** Texts that stand one after the other, without overlap, in every text that the pattern matches. */
  readonly parts: readonly string[]
  /** The first part is where the text begins. */
  readonly isStart: boolean
  /** The last part is where the text ends. */
  readonly isEnd: boolean
  /** There is nothing but `.*` between the parts, so that they are all that the pattern demands of a single line. */
  readonly isWildcard: boolean
}

const gap = /^(?:\.|\[\^?\]?(?:\\.|[^\]\\[])*\]|\\[dDwWsS])/
const quantifier = /^(?:[*+?]|\{\d+(?:,\d*)?\})\??/

/**
 * The constant parts of a simple RE2 pattern: characters, classes and `.`, repeated or not. Undefined where there are
 * groups, alternatives or anything else.
 */
export function findPatternLiterals(pattern: string): PatternLiterals | undefined {
  const isStart = pattern.startsWith("^")
  let rest = isStart ? pattern.slice(1) : pattern
  const parts = [""]
  let isWildcard = true
  let isEnd = false
  while (rest !== "") {
    if (rest === "$") {
      isEnd = true
      break
    }
    const open = gap.exec(rest)?.[0]
    const one = open ?? readCharacter(rest)
    if (one === undefined) return undefined
    rest = rest.slice(one.length)
    const repeated = quantifier.exec(rest)?.[0] ?? ""
    rest = rest.slice(repeated.length)
    const last = parts.length - 1
    if (open === undefined && repeated === "") {
      parts[last] += one.length > 1 && one.startsWith("\\") ? one.slice(1) : one
      continue
    }
    if (open !== "." || repeated !== "*") isWildcard = false
    parts.push("")
  }
  return trimmed({ parts, isStart, isEnd, isWildcard })
}

/** A character, or one that is escaped and stands for itself. */
function readCharacter(rest: string): string | undefined {
  const found = /^(?:\\[^A-Za-z0-9]|[^\\^$.|?*+()[\]{}])/u.exec(rest)
  return found?.[0]
}

/** A gap at either end frees the text from beginning or ending with what is next to it. */
function trimmed({ parts, isStart, isEnd, isWildcard }: PatternLiterals): PatternLiterals {
  return {
    parts: parts.filter((part) => part !== ""),
    isStart: isStart && parts[0] !== "",
    isEnd: isEnd && parts.at(-1) !== "",
    // `^$` alone has no part that could say it.
    isWildcard: isWildcard && !(isStart && isEnd && parts.join() === ""),
  }
}

/** Whether a text of one line has the parts of a wildcard in their order: leftmost first, so no part is tried twice. */
export function matchesWildcard({ isEnd, isStart, parts }: PatternLiterals, text: string): boolean {
  let from = 0
  for (let index = 0; index < parts.length; index++) {
    const part = parts[index] ?? ""
    if (isEnd && index === parts.length - 1) {
      const at = text.length - part.length
      return at >= from && text.endsWith(part) && (index > 0 || !isStart || at === 0)
    }
    const found = index === 0 && isStart ? (text.startsWith(part) ? 0 : -1) : text.indexOf(part, from)
    if (found < 0) return false
    from = found + part.length
  }
  return true
}
