import type { Repository } from "../repository.ts"
import type { Gate } from "./gate.ts"

const folder = "docs/adr/"

/** A decision that no machine checks is a wish: each record names its gate, and the files that it names exist. */
export async function findRecordProblems(
  repository: Repository,
): Promise<{ problems: string[]; recordsCount: number }> {
  const records = repository.files.filter((path) => path.startsWith(folder) && path !== `${folder}README.md`)
  const problems: string[] = []
  const numbers = new Map<string, string>()
  for (const path of records) {
    const number = /^(\d{4})-[a-z0-9]+(?:-[a-z0-9]+)*\.md$/.exec(path.slice(folder.length))?.[1]
    if (number === undefined) problems.push(`${path}: a record is called NNNN-what-was-decided.md`)
    else if (numbers.has(number)) problems.push(`${path}: number ${number} is taken by ${numbers.get(number)}`)
    else numbers.set(number, path)
    const gate = /^(?:[*_-]*\s*)Gate:?[*_]*:?\s+(.+(?:\n(?!\s*\n|#).+)*)/m.exec(await repository.read(path))?.[1]
    if (gate === undefined) problems.push(`${path}: has no \`Gate:\` line`)
    for (const [, named = ""] of gate?.matchAll(/`([\w.-]+(?:\/[\w.-]+)+\.[a-z]+)`/g) ?? []) {
      if (!repository.files.includes(named)) problems.push(`${path}: its gate ${named} doesn't exist`)
    }
  }
  return { problems, recordsCount: records.length }
}

export const decisionRecordsGate: Gate = {
  name: "decision records",
  async run(repository) {
    const { problems, recordsCount } = await findRecordProblems(repository)
    return { problems, note: `${recordsCount} records` }
  },
}
