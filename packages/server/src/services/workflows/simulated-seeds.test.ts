import { simulate } from "@signalbox/engine/simulator/simulation"
import type { StoreCall } from "@signalbox/engine/simulator/store-call"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { ReplayedRun } from "./replayed-run.fixture.ts"

/** `REPLAY_SEEDS=1000` repeats more runs, `REPLAY_FROM=77 REPLAY_SEEDS=1` the one that failed. */
const seedsCount = Number(process.env["REPLAY_SEEDS"] ?? 300)
const firstSeed = Number(process.env["REPLAY_FROM"] ?? 1)
const timeoutMilliseconds = 60_000 + 1_000 * seedsCount

describe("W9: simulated runs repeated against PostgreSQL", () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createTestDatabase()
  })
  afterAll(() => database.drop())

  test(
    `${seedsCount} seeds from ${firstSeed}: after every commit, or two at once, crash and takeover the rows are the simulator's`,
    async () => {
      const sums = { commits: 0, refused: 0, takeovers: 0 }
      for (let seed = firstSeed; seed < firstSeed + seedsCount; seed++) {
        const calls: StoreCall[] = []
        const { plan, failure } = simulate(seed, { onStoreCall: (call) => calls.push(call) })
        expect(failure, `seed ${seed}`).toBeUndefined()
        const run = await ReplayedRun.create(database.database, { plan, id: `exe_${seed}`, depth: (seed % 2) + 1 })
        for (const [index, call] of calls.entries()) {
          await run.take(call).catch((cause: unknown) => {
            throw new Error(`seed ${seed}, call ${index} of the store: ${call.kind} (REPLAY_FROM=${seed})`, { cause })
          })
        }
        await run.end()
        sums.commits += run.commits
        sums.refused += run.refused
        sums.takeovers += run.takeovers
      }
      if (seedsCount < 100) return
      // Runs that never lose a server prove nothing about takeovers.
      expect(sums.takeovers).toBeGreaterThan(seedsCount / 10)
      expect(sums.refused).toBeGreaterThan(seedsCount / 20)
      expect(sums.commits).toBeGreaterThan(10 * seedsCount)
    },
    timeoutMilliseconds,
  )
})
