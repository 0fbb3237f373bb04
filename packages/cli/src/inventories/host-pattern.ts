/** What an Ansible inventory's file says, before its groups are joined. */
export const inventoryLimits = { hostsMax: 10_000, groupsMax: 5_000, rangesMax: 8 } as const

export class PatternError extends Error {}

const range = /\[([^\][]*)\]/

/**
 * A host pattern as the names it stands for: `web[01:20]` (the zeros count), `db-[a:f]`, `rack[1:9:2]`; several ranges
 * multiply. Both ends belong to a range.
 *
 * @throws PatternError
 * @example expandHostPattern("web[08:10].lan") // ["web08.lan", "web09.lan", "web10.lan"]
 */
export function expandHostPattern(pattern: string): string[] {
  let names = [pattern]
  for (let ranges = 0; ; ranges++) {
    const [first = ""] = names
    const match = range.exec(first)
    if (!match) break
    if (ranges === inventoryLimits.rangesMax) throw new PatternError(`"${pattern}" has too many ranges`)
    const values = rangeValues(match[1] ?? "", pattern)
    if (names.length * values.length > inventoryLimits.hostsMax)
      throw new PatternError(`"${pattern}" stands for over ${inventoryLimits.hostsMax} hosts`)
    names = names.flatMap((name) => values.map((value) => name.replace(range, value)))
  }
  if (names.some((name) => /[\][]/.test(name))) throw new PatternError(`"${pattern}" has a bracket too many`)
  return names
}

function rangeValues(text: string, pattern: string): string[] {
  const [from = "", to = "", by = "1", ...more] = text.split(":")
  const wrong = () =>
    new PatternError(`"[${text}]" in "${pattern}" is no range; write [1:9], [01:09], [1:9:2] or [a:f]`)
  if (more.length > 0 || !/^\d{1,6}$/.test(by) || Number(by) === 0) throw wrong()
  if (/^\d{1,9}$/.test(from) && /^\d{1,9}$/.test(to)) {
    const isPadded = from.length > 1 && from.startsWith("0")
    if (isPadded && from.length !== to.length) throw wrong()
    return steps(Number(from), Number(to), { by: Number(by), wrong }).map((value) =>
      isPadded ? String(value).padStart(from.length, "0") : String(value),
    )
  }
  const isLetter = (end: string) => /^[a-z]$/.test(end) || /^[A-Z]$/.test(end)
  if (!isLetter(from) || !isLetter(to)) throw wrong()
  const codes = steps(from.charCodeAt(0), to.charCodeAt(0), { by: Number(by), wrong })
  return codes.map((code) => String.fromCharCode(code))
}

function steps(from: number, to: number, options: { readonly by: number; readonly wrong: () => Error }): number[] {
  const count = Math.floor((to - from) / options.by) + 1
  if (to < from || count > inventoryLimits.hostsMax) throw options.wrong()
  return Array.from({ length: count }, (_, index) => from + index * options.by)
}
