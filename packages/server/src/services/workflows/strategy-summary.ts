/** A run's strategy for people: in numbers, with what is automatic written out. Pure. */
import type { execution } from "@signalbox/contracts/workflows/execution"
import type { HealthCheck } from "@signalbox/contracts/workflows/strategy"
import { resolveWidth } from "@signalbox/engine/limits"
import type { z } from "zod"
import { toLimit } from "./limit-choice.ts"
import { chooseStrategy, paceOf, type RunStrategy } from "./strategy-model.ts"
import { reviveDocument } from "./workflow-text.ts"

export type StrategySummary = z.output<typeof execution>["strategy"]

const wavesShownMax = 100

export function summarizeStrategy(
  strategy: RunStrategy,
  run: { readonly targetsCount: number; readonly isRollback: boolean },
): StrategySummary {
  const { targetsCount, isRollback } = run
  const pace = paceOf(strategy, targetsCount)
  const { bake, failureDomain, errorRate, stopWhen, health, windows, rollbackConcurrency } = strategy
  return {
    ramp: pace.ramp ?? false,
    ...(pace.waves && { waves: sizesOf(pace.waves.slice(0, wavesShownMax)) }),
    wavesCount: pace.waves?.length ?? 1,
    ...(bake === undefined ? {} : { bake }),
    ...(pace.unavailableMax === undefined ? {} : { unavailableMax: pace.unavailableMax }),
    ...(failureDomain === undefined ? {} : { failureDomain }),
    ...(pace.errorsMaxByClass && { errorsMaxByClass: { ...pace.errorsMaxByClass } }),
    ...(errorRate && { errorRate }),
    strict: pace.strict ?? false,
    countUnreachable: isRollback || (pace.countUnreachable ?? false),
    ...(stopWhen === undefined ? {} : { stopWhen }),
    ...(health && { health: describeHealth(health) }),
    ...(windows && { windows }),
    rollback: strategy.rollback,
    ...(rollbackConcurrency === undefined
      ? {}
      : { rollbackWidth: resolveWidth(toLimit(rollbackConcurrency), targetsCount) }),
  }
}

/** As stored with an execution; of a run of before strategies its definition is there instead. */
export function describeStrategy(row: {
  readonly strategy: RunStrategy | null
  readonly definition: unknown
  readonly targetsCount: number
  readonly rollbackOf: string | null
}): StrategySummary {
  const strategy = row.strategy ?? chooseStrategy({}, reviveDocument(row.definition))
  return summarizeStrategy(strategy, { targetsCount: row.targetsCount, isRollback: row.rollbackOf !== null })
}

function sizesOf(ends: readonly number[]): number[] {
  return ends.map((end, index) => end - (ends[index - 1] ?? 0))
}

function describeHealth({ http, run, on, every, failures }: HealthCheck): string {
  const what = http ? `${http.method} ${http.url}` : `\`${run}\` on ${on}`
  return `${what} every ${every}, ${failures} failures in a row stop the run`
}
