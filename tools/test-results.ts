import { readFile } from "node:fs/promises"
import { join } from "node:path"

/** Where a whole run of the tests leaves its report; a run of some of them leaves it alone (see vitest.config.ts). */
export const testResultsPath = "node_modules/.cache/signalbox/test-results.json"

export interface TestResult {
  /** Titles from the outermost group to the test itself, in one text. */
  readonly title: string
  readonly passed: boolean
}

interface VitestReport {
  readonly testResults: ReadonlyArray<{
    readonly assertionResults: ReadonlyArray<{ readonly fullName: string; readonly status: string }>
  }>
}

/** The tests of the last whole run, or undefined where there was none. */
export async function readTestResults(root: string): Promise<TestResult[] | undefined> {
  const text = await readFile(join(root, testResultsPath), "utf8").catch(() => undefined)
  if (text === undefined) return undefined
  return (JSON.parse(text) as VitestReport).testResults.flatMap((file) =>
    file.assertionResults.map(({ fullName, status }) => ({ title: fullName, passed: status === "passed" })),
  )
}
