import { join } from "node:path"
import { runCommand } from "../run-command.ts"
import { readTestResults } from "../test-results.ts"
import {
  countTestsByRequirement,
  findMissingRequirements,
  formatTraceability,
  type Requirements,
} from "../traceability.ts"
import type { Gate } from "./gate.ts"

const testsTimeoutMilliseconds = 15 * 60_000

/** X15: each finished requirement is named by a test that passed in the last whole run; without one it runs them. */
export const traceabilityGate: Gate = {
  name: "traceability",
  async run(repository) {
    const { root } = repository
    const requirements = JSON.parse(await repository.read("docs/requirements.json")) as Requirements
    let tests = await readTestResults(root)
    if (tests === undefined) {
      await runCommand([process.execPath, join(root, "node_modules/vitest/vitest.mjs"), "run"], {
        directory: root,
        timeoutMilliseconds: testsTimeoutMilliseconds,
      })
      tests = await readTestResults(root)
    }
    if (tests === undefined) return { problems: ["the tests left no report; run `npm test`"], note: "" }
    const counts = countTestsByRequirement(requirements, tests)
    const named = [...counts.values()].filter((count) => count > 0).length
    return {
      problems: findMissingRequirements(requirements, counts),
      note: `${named} of ${counts.size} requirements are named by ${tests.length} tests that ran`,
      table: formatTraceability(requirements, counts),
    }
  },
}
