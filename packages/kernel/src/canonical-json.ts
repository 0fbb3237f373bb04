import { assert } from "./assert.ts"

/**
 * The one text of a JSON value that digests are taken over: keys sorted by UTF-16 code unit, no white space, members
 * that are undefined left out (the rules of RFC 8785 for the values that JavaScript can hold).
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === "string" || typeof value === "boolean") return JSON.stringify(value)
  if (typeof value === "number") {
    assert(Number.isFinite(value), "only finite numbers have a canonical form")
    return JSON.stringify(value)
  }
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(",")}]`
  assert(typeof value === "object", `a ${typeof value} has no canonical form`)
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`)
  return `{${members.join(",")}}`
}
