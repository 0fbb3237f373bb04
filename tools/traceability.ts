import type { TestResult } from "./test-results.ts"

/** docs/requirements.json: how many requirements each section has, and which are finished, with what that means. */
export interface Requirements {
  readonly sections: Readonly<Record<string, { readonly title: string; readonly count: number }>>
  readonly finished: Readonly<Record<string, string>>
}

/** Requirement id -> how many tests that passed name it. */
export function countTestsByRequirement(requirements: Requirements, tests: readonly TestResult[]): Map<string, number> {
  const counts = new Map(requirementIds(requirements).map((id) => [id, 0]))
  for (const { title, passed } of tests) {
    if (!passed) continue
    for (const id of new Set(title.match(/\b[A-Z]\d{1,2}\b/g))) {
      const count = counts.get(id)
      if (count !== undefined) counts.set(id, count + 1)
    }
  }
  return counts
}

export function findMissingRequirements(requirements: Requirements, counts: ReadonlyMap<string, number>): string[] {
  return Object.entries(requirements.finished).flatMap(([id, meaning]) => {
    const count = counts.get(id)
    if (count === undefined) return [`${id} is listed as finished, but there is no such requirement`]
    return count === 0 ? [`${id} is finished (${meaning}), but no test that passed names it`] : []
  })
}

/** One line a section: finished ids, ids that have tests already, ids that have none; each with its count of tests. */
export function formatTraceability(requirements: Requirements, counts: ReadonlyMap<string, number>): string {
  return Object.entries(requirements.sections)
    .map(([letter, { title }]) => {
      const ids = requirementIds(requirements).filter((id) => id.startsWith(letter))
      const count = (id: string) => counts.get(id) ?? 0
      const finished = ids.filter((id) => id in requirements.finished)
      const begun = ids.filter((id) => !(id in requirements.finished) && count(id) > 0)
      const none = ids.filter((id) => !(id in requirements.finished) && count(id) === 0)
      const list = (label: string, members: readonly string[]) =>
        members.length > 0
          ? `${label} ${members.map((id) => (count(id) > 0 ? `${id}(${count(id)})` : id)).join(" ")}`
          : ""
      const parts = [list("finished", finished), list("begun", begun), list("no test yet", none)].filter(
        (part) => part !== "",
      )
      return `${letter}  ${title}: ${parts.join("; ")}`
    })
    .join("\n")
}

function requirementIds({ sections }: Requirements): string[] {
  return Object.entries(sections).flatMap(([letter, { count }]) =>
    Array.from({ length: count }, (_, index) => `${letter}${index + 1}`),
  )
}
