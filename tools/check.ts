import { allGates } from "./gates/all-gates.ts"
import type { Gate, GateResult } from "./gates/gate.ts"
import { openRepository, type Repository } from "./repository.ts"

/**
 * Runs every gate, or those whose names are given, and prints a line for each. Exit status: 0 where all pass, 1 where
 * one does not, 2 where a name is unknown.
 *
 * @example node --conditions=source tools/check.ts layers "docs links"
 */

const problemsShownMax = 40

async function runGate(gate: Gate, repository: Repository): Promise<GateResult & { seconds: string }> {
  const begun = performance.now()
  const result = await gate.run(repository).catch((error: unknown): GateResult => {
    return { problems: [`the gate itself failed: ${error instanceof Error ? error.stack : String(error)}`], note: "" }
  })
  return { ...result, seconds: ((performance.now() - begun) / 1000).toFixed(1) }
}

const names = process.argv.slice(2)
const unknown = names.filter((name) => !allGates.some((gate) => gate.name === name))
if (unknown.length > 0) {
  console.error(`no gate ${unknown.join(", ")}; there are: ${allGates.map((gate) => gate.name).join(", ")}`)
  process.exit(2)
}

const repository = await openRepository()
let failed = 0
const chosen = allGates.filter((gate) => names.length === 0 || names.includes(gate.name))
for (const gate of chosen) {
  const { problems, note, table, seconds } = await runGate(gate, repository)
  const verdict = problems.length === 0 ? "ok  " : "FAIL"
  console.log(`${verdict} ${gate.name.padEnd(17)} ${seconds.padStart(6)} s  ${note}`)
  if (table !== undefined) console.log(table.replace(/^/gm, "       "))
  for (const problem of problems.slice(0, problemsShownMax)) console.log(`       ${problem}`)
  if (problems.length > problemsShownMax) console.log(`       and ${problems.length - problemsShownMax} more`)
  if (problems.length > 0) failed++
}
console.log(`${chosen.length - failed} gates passed, ${failed} failed`)
process.exitCode = failed > 0 ? 1 : 0
