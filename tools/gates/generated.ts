import { makeGeneratedFiles } from "../generate/generated-files.ts"
import type { Repository } from "../repository.ts"
import type { Gate } from "./gate.ts"

export async function findStaleFiles(
  repository: Repository,
  generated: ReadonlyMap<string, string>,
): Promise<string[]> {
  const problems: string[] = []
  for (const [path, text] of generated) {
    if (!repository.files.includes(path)) problems.push(`${path}: is missing; run \`npm run generate\``)
    else {
      const line = firstDifference(await repository.read(path), text)
      if (line !== undefined) problems.push(`${path}:${line}: differs from its source; run \`npm run generate\``)
    }
  }
  return problems
}

function firstDifference(actual: string, expected: string): number | undefined {
  if (actual === expected) return undefined
  const lines = actual.split("\n")
  const index = expected.split("\n").findIndex((line, each) => line !== lines[each])
  return (index < 0 ? lines.length : index) + 1
}

export const generatedGate: Gate = {
  name: "generated files",
  async run(repository) {
    const generated = await makeGeneratedFiles(repository)
    return { problems: await findStaleFiles(repository, generated), note: [...generated.keys()].join(", ") }
  },
}
