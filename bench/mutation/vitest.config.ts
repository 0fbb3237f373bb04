import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: { conditions: ["source"] },
  ssr: { noExternal: [/^@signalbox\//], resolve: { conditions: ["source", "node"] } },
  test: {
    include: ["packages/engine/src/**/*.test.ts"],
    // They cost more than all others together: speed, the strength of the simulator, and broad searches.
    exclude: ["performance", "planted-faults", "property", "race-matrix"].map((name) => `**/*${name}.test.ts`),
    env: { SIM_SCHEDULES: "60" },
    testTimeout: 60_000,
  },
})
