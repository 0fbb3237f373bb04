import type { Limit } from "../limits.ts"
import type { EnginePlan } from "../plan.ts"
import type { Wish } from "../types.ts"
import { drawPace, plainPace, type PaceScenario } from "./pace-scenario.ts"
import { SeededRandom } from "./seeded-random.ts"

/** How one node fares with the attempts it is given. */
export interface NodeBehaviour {
  /** What an attempt comes to, by its number from 1; the last holds for all later ones. `stall` never ends by itself. */
  readonly attempts: readonly ("succeed" | "fail" | "refuse" | "skip" | "crash" | "stall")[]
  readonly rollback: "rolled-back" | "rollback-failed" | "not-reversible" | "unknown" | "stall"
  readonly durationMilliseconds: number
  /** Virtual time in which nothing reaches the node or leaves it; `to` may be Infinity. */
  readonly away: { readonly from: number; readonly to: number } | null
  /** Reports things that are not so: wrong attempts, foreign tasks, contradictions, repeats. */
  readonly lies: boolean
}

/** Everything a simulated run depends on besides the engine: drawn from one seed. */
export interface Scenario {
  readonly seed: number
  readonly targetsCount: number
  readonly widthLimit: Limit
  readonly errorLimit: Limit
  readonly timing: Pick<
    EnginePlan,
    | "attemptsMax"
    | "retryDelayMilliseconds"
    | "rollbackOnFailure"
    | "startTimeoutMilliseconds"
    | "taskTimeoutMilliseconds"
    | "rollbackTimeoutMilliseconds"
    | "graceMilliseconds"
    | "reconnectMilliseconds"
    | "countUnreachable"
  >
  readonly pace: PaceScenario
  readonly nodes: readonly NodeBehaviour[]
  readonly network: {
    readonly loseChance: number
    readonly repeatChance: number
    readonly delayMillisecondsMax: number
  }
  /** Chance that the server dies in a step: before the commit, after it, among what it sends, or after that. */
  readonly crashChance: number
  readonly clockJumps: readonly { readonly at: number; readonly milliseconds: number }[]
  readonly wishes: readonly { readonly at: number; readonly wish: Wish }[]
  /** From here on nothing is lost, no server dies and no pause lasts. */
  readonly healAt: number
}

const targetsMax = 24

function drawLimit(random: SeededRandom, max: number): Limit {
  return random.chance(0.5) ? `${random.integer(0, 100)}%` : random.integer(0, max)
}

function drawBehaviour(random: SeededRandom, hostility: number): NodeBehaviour {
  const bad = ["fail", "fail", "fail", "refuse", "skip", "crash", "stall"] as const
  const attempts = Array.from({ length: 3 }, () => (random.chance(hostility) ? random.pick(bad) : "succeed"))
  const from = random.integer(0, 2000)
  return {
    attempts,
    rollback: random.chance(0.6)
      ? "rolled-back"
      : random.pick(["rollback-failed", "not-reversible", "unknown", "stall"] as const),
    durationMilliseconds: random.integer(0, random.chance(0.1) ? 1500 : 150),
    away: random.chance(hostility / 3)
      ? { from, to: random.chance(0.3) ? Number.POSITIVE_INFINITY : from + random.integer(50, 3000) }
      : null,
    lies: random.chance(hostility / 4),
  }
}

function drawWishes(random: SeededRandom): Scenario["wishes"] {
  const count = random.pick([0, 0, 0, 1, 2, 3, 4])
  return Array.from({ length: count }, () => ({
    at: random.integer(0, 1500),
    wish: random.pick(["pause", "pause", "pause", "run", "run", "abort-finish", "abort-kill"] as const),
  }))
}

/** The scenario of a seed; the same seed is the same scenario. `plain` leaves the pace at width and error limit. */
export function drawScenario(seed: number, options: { readonly plain?: boolean } = {}): Scenario {
  const random = new SeededRandom(seed)
  const hostility = random.pick([0, 0.1, 0.3, 0.6])
  const rough = random.pick([0, 0, 0.03, 0.15])
  const targetsCount = random.integer(random.chance(0.05) ? 0 : 1, random.chance(0.3) ? targetsMax : 10)
  // A generator of its own, so that the rest of a seed's scenario is the same with and without.
  const paceRandom = new SeededRandom(seed + 0.25 * 0x1_0000_0000)
  const pace = options.plain ? plainPace : drawPace(paceRandom, targetsCount)
  const widthLimit = drawLimit(random, targetsCount)
  const errorLimit = drawLimit(random, Math.min(4, targetsCount))
  return {
    seed,
    targetsCount,
    widthLimit: pace !== plainPace && paceRandom.chance(0.3) ? "100%" : widthLimit,
    errorLimit: pace !== plainPace && paceRandom.chance(0.4) ? "100%" : errorLimit,
    pace,
    timing: {
      attemptsMax: random.pick([1, 1, 2, 3]),
      retryDelayMilliseconds: random.pick([0, 20, 300]),
      rollbackOnFailure: random.chance(0.7),
      startTimeoutMilliseconds: random.pick([100, 500, 2000]),
      taskTimeoutMilliseconds: random.pick([300, 1000]),
      rollbackTimeoutMilliseconds: random.pick([200, 800]),
      graceMilliseconds: random.pick([50, 200]),
      reconnectMilliseconds: options.plain ? 0 : paceRandom.pick([0, 0, 100, 600]),
      countUnreachable: random.chance(0.4),
    },
    nodes: Array.from({ length: targetsCount }, () => drawBehaviour(random, hostility)),
    network: { loseChance: rough, repeatChance: rough, delayMillisecondsMax: random.pick([1, 10, 80]) },
    crashChance: random.pick([0, 0, 0.02, 0.1]),
    clockJumps: Array.from({ length: random.pick([0, 0, 0, 1, 3]) }, () => ({
      at: random.integer(0, 2000),
      milliseconds: random.pick([-3_600_000, -700, 700, 5000, 3_600_000]),
    })),
    wishes: drawWishes(random),
    healAt: 4000,
  }
}
