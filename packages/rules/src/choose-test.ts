import { extend, operandKey, without, type Alternative, type Standing } from "./alternative.ts"
import type { Condition, Test } from "./condition.ts"
import { wildcardKey } from "./wildcard-tree.ts"

/** What the rules of one index ask of one value, all together. */
interface Asked {
  readonly keys: Set<unknown>
  /** By the kind of test and their length: how many there are tells how rarely one holds. */
  readonly texts: Map<string, Set<string>>
  low: number
  high: number
}

export type Statistics = ReadonlyMap<string, Asked>

export function gatherStatistics(alternatives: readonly Alternative[]): Statistics {
  const asked = new Map<string, Asked>()
  const add = (condition: Condition): void => {
    if (condition.is === "all" || condition.is === "any") condition.parts.forEach(add)
    if (condition.is === "test") addTest(asked, condition.test)
  }
  for (const alternative of alternatives) alternative.tests.forEach(add)
  return asked
}

function addTest(asked: Map<string, Asked>, test: Test): void {
  const key = operandKey(test.operand)
  const known = asked.get(key) ?? { keys: new Set(), texts: new Map(), low: Infinity, high: -Infinity }
  asked.set(key, known)
  if (test.is === "equals") for (const each of test.keys) known.keys.add(each)
  if (test.is === "prefix" || test.is === "suffix" || test.is === "contains") {
    const group = textGroup(test)
    const texts = known.texts.get(group) ?? new Set()
    known.texts.set(group, texts)
    texts.add(test.text)
  }
  if (test.is !== "range") return
  for (const end of [test.range.low, test.range.high]) {
    if (!Number.isFinite(end)) continue
    known.low = Math.min(known.low, end)
    known.high = Math.max(known.high, end)
  }
}

const textGroup = ({ is, text }: Part): string => `${is} ${text.length}`

/**
 * Where a rule stands in the index: at the test that seems to hold most rarely, or at one of each way in which an `||`
 * can hold. Undefined where there is no test to stand at.
 */
export function chooseStandings(
  alternative: Alternative,
  statistics: Statistics,
  mayBranch: boolean,
): readonly Standing[] | undefined {
  let best: { readonly condition: Alternative["tests"][number]; readonly share: number } | undefined
  for (const condition of alternative.tests) {
    if (condition.is === "any" && !mayBranch) continue
    const share = shareOf(condition, statistics)
    if (share !== undefined && (best === undefined || share < best.share)) best = { condition, share }
  }
  if (best === undefined) return undefined
  const { condition } = best
  const rest = without(alternative, condition)
  if (condition.is === "test") return [{ test: condition.test, rest }]
  return condition.parts.flatMap((part) => standingsOfPart(rest, part, statistics))
}

function standingsOfPart(rest: Alternative, part: Condition, statistics: Statistics): readonly Standing[] {
  const own = chooseStandings(extend({ ...rest, tests: [], isPart: false }, part), statistics, true) ?? []
  return own.map(({ rest: left, test }) => ({
    test,
    rest: { ...left, tests: [...left.tests, ...rest.tests], isPart: left.isPart || rest.isPart },
  }))
}

/** The share of events of which the condition holds, guessed; undefined where the index can't take it. */
function shareOf(condition: Condition, statistics: Statistics): number | undefined {
  if (condition.is === "test") return shareOfTest(condition.test, statistics)
  if (condition.is === "open") return undefined
  const shares = condition.parts.map((part) => shareOf(part, statistics))
  const known = shares.filter((share) => share !== undefined)
  if (condition.is === "all") return known.length === 0 ? undefined : Math.min(...known)
  return known.length < shares.length ? undefined : known.reduce((sum, share) => sum + share, 0)
}

function shareOfTest(test: Test, statistics: Statistics): number | undefined {
  const asked = statistics.get(operandKey(test.operand))
  const values = (asked?.keys.size ?? 0) + 1
  switch (test.is) {
    case "equals":
      return test.keys.length / values
    case "prefix":
    case "suffix":
    case "contains":
      return shareOfPart(test, asked)
    case "range": {
      const width = test.range.high - test.range.low
      const span = (asked?.high ?? 0) - (asked?.low ?? 0)
      return Number.isFinite(width) && span > 0 ? Math.min(0.5, width / span) : 0.5
    }
    case "wildcard":
      return shareOfWildcard(test, asked)
    case "flag":
      return 0.5
    case "present":
      return 0.7
    case "absent":
      return 0.4
    case "differs":
      return 0.9
    case "some": {
      const share = shareOf(test.item, gatherItemStatistics(test.item))
      return share === undefined ? undefined : 0.3 + share / 4
    }
  }
}

interface Part {
  readonly is: "prefix" | "suffix" | "contains"
  readonly text: string
}

function shareOfPart(part: Part, asked: Asked | undefined): number {
  const share = shareOfText(part, asked)
  // Inside it may stand at each of some places, and looking for it takes longer.
  return part.is === "contains" ? Math.min(0.6, 16 * share) : Math.min(0.5, share)
}

/** That a text is at one place: one of those that rules ask for, or one of sixteen characters at each of its own. */
function shareOfText(part: Part, asked: Asked | undefined): number {
  const others = asked?.texts.get(textGroup(part))?.size ?? 0
  return 1 / (others + 1) + 16 ** -part.text.length
}

/** Of its parts together. Undefined where a part is a test of its own, and all that there is to look up. */
function shareOfWildcard(
  { literals }: Extract<Test, { readonly is: "wildcard" }>,
  asked: Asked | undefined,
): number | undefined {
  if (wildcardKey(literals) === undefined) return undefined
  const { isEnd, isStart, parts } = literals
  return parts.reduce((share, text, at) => {
    const is = isStart && at === 0 ? "prefix" : isEnd && at === parts.length - 1 ? "suffix" : "contains"
    return share * shareOfPart({ is, text }, asked)
  }, 1)
}

/** Of what other rules ask of the items nothing is known here. */
function gatherItemStatistics(item: Condition): Statistics {
  const asked = new Map<string, Asked>()
  const add = (condition: Condition): void => {
    if (condition.is === "all" || condition.is === "any") condition.parts.forEach(add)
    if (condition.is === "test") addTest(asked, condition.test)
  }
  add(item)
  return asked
}
