/** Known names close to an unknown one, the closest first, three at most; for messages that say what was meant. */
export function findNearNames(name: string, names: Iterable<string>): string[] {
  const scored: Array<[number, string]> = []
  for (const candidate of names) {
    const distance = editDistance(name.slice(0, 64), candidate)
    if (distance <= Math.max(2, Math.floor(candidate.length / 3))) scored.push([distance, candidate])
  }
  return scored
    .toSorted((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : 1))
    .slice(0, 3)
    .map(([, candidate]) => candidate)
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, change))
    }
    row = next
  }
  return row[b.length] ?? 0
}
