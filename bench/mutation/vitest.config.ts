import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: { conditions: ["source"] },
  ssr: { noExternal: [/^@signalbox\//], resolve: { conditions: ["source", "node"] } },
  test: {
    include: ["packages/engine/src/**/*.test.ts"],
    // Their proofs are of speed and of the simulator itself, and cost more than all others together.
    exclude: ["**/scheduler.performance.test.ts", "**/planted-faults.test.ts"],
    testTimeout: 60_000,
  },
})
