import { configDefaults, defineConfig } from "vitest/config"
import { testResultsPath } from "./tools/test-results.ts"

// The report that traceability reads is of whole runs only: `vitest run` with a path leaves it alone.
const isWholeRun = process.argv.slice(2).join(" ") === "run"

export default defineConfig({
  resolve: { conditions: ["source"] },
  ssr: { noExternal: [/^@signalbox\//], resolve: { conditions: ["source", "node"] } },
  test: {
    include: ["packages/*/src/**/*.test.ts", "tools/**/*.test.ts", "test/**/*.test.ts"],
    // Those that need a browser run by `npm run test:e2e`.
    exclude: [...configDefaults.exclude, ...(isWholeRun ? ["**/*.e2e.test.ts"] : [])],
    globalSetup: ["packages/testkit/src/run-directory.ts", "packages/testkit/src/shared-postgres.ts"],
    reporters: isWholeRun ? ["default", ["json", { outputFile: testResultsPath }]] : ["default"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
})
