import type { Limit } from "../limits.ts"
import type { EnginePlan, StopCounts } from "../plan.ts"
import type { Hold } from "../types.ts"
import type { SeededRandom } from "./seeded-random.ts"

/** The pace of a simulated run and what stops it, beside width and error limit; a member that is absent limits nothing. */
export interface PaceScenario {
  readonly members: Pick<
    EnginePlan,
    | "ramp"
    | "bakeMilliseconds"
    | "unavailableMax"
    | "strict"
    | "domainWidth"
    | "errorRate"
    | "errorsMaxByClass"
    | "stopMode"
    | "retryBackoffFactor"
    | "retryDelayMillisecondsMax"
    | "retryJitterThousandths"
    | "seed"
  >
  readonly waveSizes: readonly Limit[] | null
  /** The domain of each target before they are interleaved. */
  readonly domains: readonly number[] | null
  readonly interleaved: boolean
  /** The run stops once this count is so large; judging it throws where it says so. */
  readonly condition: {
    readonly count: keyof StopCounts
    readonly atLeast: number
    readonly throws: boolean
  } | null
  /** What people and calendars want, by time: it is durable at once, and heeded when it is next looked at. */
  readonly settings: ReadonlyArray<{ readonly at: number; readonly width?: number; readonly hold?: Hold | null }>
  readonly health: ReadonlyArray<{ readonly at: number; readonly ok: boolean }>
  /** Times in which the server process stands still. */
  readonly stalls: ReadonlyArray<{ readonly at: number; readonly milliseconds: number }>
}

export const plainPace: PaceScenario = {
  members: {},
  waveSizes: null,
  domains: null,
  interleaved: false,
  condition: null,
  settings: [],
  health: [],
  stalls: [],
}

const times = (random: SeededRandom, counts: readonly [number, ...number[]]): number[] =>
  Array.from({ length: random.pick(counts) }, () => random.integer(0, 1500))

function drawMembers(random: SeededRandom, targetsCount: number): PaceScenario["members"] {
  const tolerated = (): number => random.integer(0, 2)
  return {
    ...(random.chance(0.25) && { ramp: true }),
    ...(random.chance(0.6) && { bakeMilliseconds: random.pick([0, 50, 400]) }),
    ...(random.chance(0.25) && { unavailableMax: random.integer(1, Math.max(1, targetsCount)) }),
    ...(random.chance(0.25) && { strict: true }),
    ...(random.chance(0.3) && { domainWidth: random.pick([1, 2, 3]) }),
    ...(random.chance(0.2) && {
      errorRate: { thousandths: random.pick([0, 10_000, 33_333, 50_000]), sampleMin: random.integer(1, 5) },
    }),
    ...(random.chance(0.2) && {
      errorsMaxByClass: {
        ...(random.chance(0.5) && { failed: tolerated() }),
        ...(random.chance(0.5) && { timeout: tolerated() }),
        ...(random.chance(0.5) && { unreachable: tolerated() }),
        ...(random.chance(0.5) && { interrupted: tolerated() }),
      },
    }),
    ...(random.chance(0.25) && { stopMode: "kill" }),
    ...(random.chance(0.4) && { retryBackoffFactor: random.pick([1, 2, 2.5]) }),
    ...(random.chance(0.2) && { retryDelayMillisecondsMax: random.pick([10, 400]) }),
    ...(random.chance(0.3) && { retryJitterThousandths: random.pick([100, 500, 1000]), seed: random.integer(0, 999) }),
  }
}

function drawSettings(random: SeededRandom, targetsCount: number): PaceScenario["settings"] {
  return times(random, [0, 0, 0, 0, 1, 2, 3]).map((at) => {
    if (random.chance(0.5)) return { at, width: random.integer(1, Math.max(1, targetsCount)) }
    if (random.chance(0.4)) return { at, hold: null }
    const until = random.chance(0.5) ? random.integer(0, 5000) : null
    return { at, hold: { reason: `window ${random.integer(1, 3)} is closed`, until } }
  })
}

function drawCondition(random: SeededRandom): PaceScenario["condition"] {
  if (!random.chance(0.15)) return null
  const counts = ["failed", "timedOut", "interrupted", "unreachable", "failures", "rolledBack", "succeeded"] as const
  return { count: random.pick(counts), atLeast: random.integer(1, 4), throws: random.chance(0.3) }
}

/** The pace of a scenario; a third of all runs keep the plain one. */
export function drawPace(random: SeededRandom, targetsCount: number): PaceScenario {
  if (random.chance(0.33)) return plainPace
  const size = (): Limit => (random.chance(0.4) ? `${random.integer(0, 60)}%` : random.integer(0, 6))
  const domainsCount = random.integer(1, 6)
  const hasDomains = random.chance(0.3)
  return {
    members: drawMembers(random, targetsCount),
    waveSizes: random.chance(0.35) ? Array.from({ length: random.integer(1, 3) }, size) : null,
    domains: hasDomains ? Array.from({ length: targetsCount }, () => random.integer(-1, domainsCount - 1)) : null,
    interleaved: random.chance(0.7),
    condition: drawCondition(random),
    settings: drawSettings(random, targetsCount),
    health: times(random, [0, 0, 0, 0, 0, 1, 2]).map((at) => ({ at, ok: random.chance(0.6) })),
    stalls: times(random, [0, 0, 0, 0, 1, 2]).map((at) => ({ at, milliseconds: random.pick([30, 700, 4000]) })),
  }
}
