import { findPercent, type Limit } from "../limits.ts"
import type { EnginePlan, StopCondition } from "../plan.ts"
import type { Engine } from "./engine-under-test.ts"
import { expectThat } from "./invariant-error.ts"
import type { PaceScenario } from "./pace-scenario.ts"
import type { Scenario } from "./scenario.ts"

function conditionOf({ count, atLeast, throws }: NonNullable<PaceScenario["condition"]>): StopCondition {
  return {
    text: `${count} >= ${atLeast}`,
    test: (counts) => {
      if (counts[count] < atLeast) return false
      if (throws) throw new RangeError(`${count} can't be judged`)
      return true
    },
  }
}

function domainsOf({ domains, interleaved }: PaceScenario, engine: Engine): Int32Array | undefined {
  if (!domains) return undefined
  const drawn = Int32Array.from(domains)
  return interleaved ? engine.interleaveByDomain(drawn).map((index) => drawn[index] ?? -1) : drawn
}

/** The plan of a scenario, its limits resolved by the engine under test. */
export function planOf(scenario: Scenario, engine: Engine): EnginePlan {
  const { targetsCount, pace, widthLimit, errorLimit } = scenario
  const domains = domainsOf(pace, engine)
  return {
    ...scenario.timing,
    ...pace.members,
    targetsCount,
    width: engine.resolveWidth(widthLimit, targetsCount),
    errorsMax: engine.resolveErrorsMax(errorLimit, targetsCount),
    ...(pace.waveSizes && { waves: engine.resolveWaves(pace.waveSizes, targetsCount) }),
    ...(domains && { domains }),
    ...(pace.condition && { stopWhen: conditionOf(pace.condition) }),
  }
}

/** What resolving the limits has to give (I17), computed in another way. */
export function checkLimits(scenario: Scenario, plan: EnginePlan): void {
  const { widthLimit, errorLimit, targetsCount, pace } = scenario
  const { width, errorsMax, waves, domains } = plan
  const most = (limit: Limit): number =>
    typeof limit === "number" ? limit : ((findPercent(limit) ?? 0) * targetsCount) / 100_000
  expectThat(width >= 1 && width <= Math.max(1, most(widthLimit)), "I17", () => `width ${width} of ${widthLimit}`)
  const errors = (): string => `errorsMax ${errorsMax} of ${errorLimit} of ${targetsCount}`
  expectThat(errorsMax <= most(errorLimit) && errorsMax > most(errorLimit) - 1, "I17", errors)
  let begin = 0
  for (const [index, end] of (waves ?? []).entries()) {
    const size = pace.waveSizes?.[Math.min(index, pace.waveSizes.length - 1)] ?? 0
    const within = end - begin <= Math.max(1, most(size)) && end > begin
    expectThat(within, "I17", () => `a wave from ${begin} to ${end}, the size is ${size} of ${targetsCount}`)
    begin = end
  }
  const all = domains ? [...domains].toSorted((a, b) => a - b).join() : ""
  const drawn = (pace.domains ?? []).toSorted((a, b) => a - b).join()
  expectThat(all === drawn, "I24", () => `targets were lost when they were interleaved: ${all}, not ${drawn}`)
}
