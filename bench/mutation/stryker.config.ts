/**
 * Settings of Stryker for the engine, run by `npm run mutation` from the root. They live here, so that its packages are not
 * among those of the project.
 */
import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const others = (path: string, ...kept: readonly string[]): string[] =>
  readdirSync(here(path))
    .filter((name) => !kept.includes(name))
    .map((name) => `/${path.replace(/^(\.\.\/)+/, "")}${name}`)

export default {
  mutate: ["packages/engine/src/*.ts", "!packages/engine/src/*.test.ts"],
  testRunner: "vitest",
  vitest: { configFile: "bench/mutation/vitest.config.ts", related: false },
  plugins: [here("node_modules/@stryker-mutator/vitest-runner/dist/src/index.js")],
  ignorePatterns: [
    ...others("../../", "packages", "bench", "package.json", "tsconfig.base.json"),
    ...others("../../packages/", "engine", "kernel"),
    ...others("../../bench/", "mutation"),
    "dist",
  ],
  coverageAnalysis: "perTest",
  // A constant that is set once can't be switched mutant by mutant within a process.
  ignoreStatic: true,
  concurrency: 2,
  timeoutMS: 20_000,
  reporters: ["progress-append-only", "clear-text", "json"],
  jsonReporter: { fileName: here("report/mutation.json") },
  tempDirName: here(".stryker-tmp"),
  thresholds: { high: 95, low: 90, break: 85 },
}
