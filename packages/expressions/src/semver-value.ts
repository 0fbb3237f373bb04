/** A version by semver.org 2.0.0, while an expression runs; it comes in and goes out as text. */
export class SemanticVersion {
  readonly major: number
  readonly minor: number
  readonly patch: number
  readonly prerelease: readonly string[]
  readonly text: string
  constructor(core: readonly [number, number, number], prerelease: readonly string[], text: string) {
    ;[this.major, this.minor, this.patch] = core
    this.prerelease = prerelease
    this.text = text
  }
}

const number = "(0|[1-9]\\d{0,14})"
const identifiers = "[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*"
const pattern = new RegExp(`^${number}\\.${number}\\.${number}(?:-(${identifiers}))?(?:\\+${identifiers})?$`)
const versionLengthMax = 256

export function findSemver(text: string): SemanticVersion | undefined {
  const found = text.length <= versionLengthMax ? pattern.exec(text) : null
  if (found === null) return undefined
  const prerelease = found[4]?.split(".") ?? []
  // A number in it has no leading zeros.
  if (prerelease.some((each) => /^0\d+$/.test(each))) return undefined
  return new SemanticVersion([Number(found[1]), Number(found[2]), Number(found[3])], prerelease, text)
}

/** By precedence (semver.org, 11): build metadata don't count. -1, 0 or 1. */
export function compareSemver(a: SemanticVersion, b: SemanticVersion): number {
  const core = Math.sign(a.major - b.major) || Math.sign(a.minor - b.minor) || Math.sign(a.patch - b.patch)
  if (core !== 0) return core
  if (a.prerelease.length === 0 || b.prerelease.length === 0) {
    return Number(a.prerelease.length === 0) - Number(b.prerelease.length === 0)
  }
  for (let at = 0; at < Math.max(a.prerelease.length, b.prerelease.length); at++) {
    const [left, right] = [a.prerelease[at], b.prerelease[at]]
    if (left === undefined || right === undefined) return left === undefined ? -1 : 1
    const order = compareIdentifiers(left, right)
    if (order !== 0) return order
  }
  return 0
}

/** Numbers by value and before texts; texts by their characters. */
function compareIdentifiers(a: string, b: string): number {
  const [isNumber, isOtherNumber] = [/^\d+$/.test(a), /^\d+$/.test(b)]
  if (isNumber !== isOtherNumber) return isNumber ? -1 : 1
  if (isNumber && a.length !== b.length) return Math.sign(a.length - b.length)
  return a < b ? -1 : Number(a > b)
}
