import type { EnginePlan } from "../plan.ts"
import type { Scenario } from "./scenario.ts"

/** A generous bound of the time that a run can take once the faults have ended: target after target, all timeouts. */
export function deadlineOf(plan: EnginePlan, { healAt }: Scenario): number {
  const { targetsCount, attemptsMax, startTimeoutMilliseconds, taskTimeoutMilliseconds } = plan
  const { retryDelayMilliseconds, rollbackTimeoutMilliseconds, graceMilliseconds } = plan
  const { retryBackoffFactor = 1, waves = [], bakeMilliseconds = 0, reconnectMilliseconds = 0 } = plan
  const delay = retryDelayMilliseconds * retryBackoffFactor ** attemptsMax
  const attempt = startTimeoutMilliseconds + taskTimeoutMilliseconds + graceMilliseconds + delay
  const target = attemptsMax * attempt + 2 * (rollbackTimeoutMilliseconds + graceMilliseconds)
  const runs = (targetsCount + 1) * (target + 2000) + waves.length * (bakeMilliseconds + 2000)
  return healAt + reconnectMilliseconds + runs
}

/** From here on nothing is lost, and whoever comes back has come back. */
export function lastFaultAt({ healAt, nodes }: Scenario): number {
  const backAt = nodes.map(({ away }) => away?.to ?? 0)
  return Math.max(healAt, ...backAt.filter((time) => Number.isFinite(time)))
}
