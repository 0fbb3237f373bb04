import { SeededRandom } from "@signalbox/engine/simulator/seeded-random"
import { afterAll, describe, expect, test } from "vitest"
import { openDatabaseStops, openKills, openTakeovers, type ChaosWorld } from "./chaos-rounds.fixture.ts"
import { openServers } from "./servers-round.fixture.ts"
import { smallSizes } from "./chaos-sizes.fixture.ts"

/** The short form of `npm run chaos`. Which runs and moments are drawn changes with each run; a failure names its seed. */
const firstSeed = Number(process.env["CHAOS_SEED"] ?? Math.floor(Math.random() * 1_000_000))
const roundsCount = 2
const timeoutMilliseconds = 400_000

const kinds = [
  ["kills of the server and of agents", () => openKills(smallSizes.kills)],
  ["stops of the database", () => openDatabaseStops(smallSizes.database)],
  ["a server that stands still past its lease", () => openTakeovers(smallSizes.takeovers)],
  ["two servers that share their nodes", () => openServers(smallSizes.servers)],
] as const

describe.each(kinds)("W9, W3: runs through %s", (_name, open) => {
  let world: ChaosWorld
  let failed = false
  afterAll(() => world.remove({ keepFiles: failed }), timeoutMilliseconds)

  test(
    `${roundsCount} rounds from seed ${firstSeed}: one end a node, no attempt twice, limits kept, the run ends`,
    async () => {
      world = await open()
      for (let seed = firstSeed; seed < firstSeed + roundsCount; seed++) {
        failed = true
        const { what, faults } = await world.playRound(new SeededRandom(seed))
        expect(faults, `CHAOS_SEED=${seed}, ${world.directory}: ${what}`).toEqual([])
        failed = false
      }
    },
    timeoutMilliseconds,
  )
})
