/**
 * `npm run chaos -- [--rounds 20] [--seed N] [--only kills|database|takeovers|servers] [--small]`: runs of real processes that are
 * killed, stopped and frozen. A round that fails prints its seed and leaves its folder; the exit status is then 1.
 */
import { parseArgs } from "node:util"
import { SeededRandom } from "@signalbox/engine/simulator/seeded-random"
import { chaosSizes, smallSizes, type ChaosKind } from "./chaos-sizes.fixture.ts"
import { openDatabaseStops, openKills, openTakeovers } from "./chaos-rounds.fixture.ts"
import { openServers } from "./servers-round.fixture.ts"

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "20" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 1_000_000)) },
    only: { type: "string" },
    small: { type: "boolean", default: false },
  },
})
const worlds = { kills: openKills, database: openDatabaseStops, takeovers: openTakeovers, servers: openServers }
const say = (text: string): void => void process.stdout.write(`${text}\n`)

async function play(kind: ChaosKind): Promise<boolean> {
  const world = await worlds[kind]((values.small ? smallSizes : chaosSizes)[kind])
  let failed = false
  for (let round = 0; round < Number(values.rounds) && !failed; round++) {
    const seed = Number(values.seed) + round
    const begin = performance.now()
    const { what, faults } = await world.playRound(new SeededRandom(seed))
    failed = faults.length > 0
    say(`${kind} ${round + 1}, seed ${seed}, ${Math.round((performance.now() - begin) / 1000)} s: ${what}`)
    for (const fault of faults) say(`  ${fault}`)
    if (failed) say(`  repeat it: npm run chaos -- --only ${kind} --seed ${seed} --rounds 1; see ${world.directory}`)
  }
  await world.remove({ keepFiles: failed })
  return failed
}

const kinds = (Object.keys(worlds) as ChaosKind[]).filter((kind) => values.only === undefined || kind === values.only)
for (const kind of kinds) if (await play(kind)) process.exitCode = 1
