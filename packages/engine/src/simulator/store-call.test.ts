import { describe, expect, test } from "vitest"
import { SimStore } from "./sim-store.ts"
import { simulate } from "./simulation.ts"
import type { StoreCall } from "./store-call.ts"

describe("I14: a run repeated against another store", () => {
  test("finds at each recovery the rows that it found before, if only what was to be written was", () => {
    let recoveries = 0
    let lost = 0
    for (let seed = 1; seed <= 300; seed++) {
      const calls: StoreCall[] = []
      const { plan, failure, execution } = simulate(seed, { onStoreCall: (call) => calls.push(call) })
      expect(failure).toBeUndefined()
      const store = new SimStore(plan)
      for (const call of calls) {
        if (call.kind === "commit") store.commit(call.result)
        else if (call.kind === "lost") lost += 1
        else {
          recoveries += 1
          const { wish, settings } = call.rows
          expect({ ...store.rows(), wish, settings }).toEqual(call.rows)
        }
      }
      expect(store.execution).toBe(execution)
    }
    expect(recoveries).toBeGreaterThan(50)
    expect(lost).toBeGreaterThan(20)
  })
})
