import type { Execution } from "../rollout/rollout-fold.ts"

type Strategy = Execution["strategy"]

/** @example paceText({ width: 4, errorsMax: 1 }) // "4 at once, 1 failure tolerated" */
export function paceText({ width, errorsMax }: Pick<Execution, "width" | "errorsMax">): string {
  return `${width} at once, ${errorsMax === 0 ? "no" : errorsMax} ${errorsMax === 1 ? "failure" : "failures"} tolerated`
}

export function parametersText(parameters: Execution["parameters"]): string | undefined {
  const texts = Object.entries(parameters).map(([name, value]) => `${name}=${value}`)
  return texts.length === 0 ? undefined : texts.join(", ")
}

/** What of a strategy goes beyond width and error limit, in short lines. */
export function strategyLines(strategy: Strategy): string[] {
  const { ramp, waves, wavesCount, bake, unavailableMax, failureDomain, errorsMaxByClass, errorRate } = strategy
  const { strict, countUnreachable, stopWhen, health, windows, rollback, rollbackWidth } = strategy
  const sizes = waves && waves.length > 6 ? [...waves.slice(0, 6), "…"] : waves
  const classes = Object.entries(errorsMaxByClass ?? {}).map(([name, max]) => `${max} ${name}`)
  return [
    ramp ? "ramps up: 1, 2, 4, …" : undefined,
    sizes &&
      `${wavesCount} ${wavesCount === 1 ? "wave" : "waves"} of ${sizes.join(", ")}${bake === undefined || wavesCount === 1 ? "" : `, each but the last bakes ${bake}`}`,
    unavailableMax === undefined ? undefined : `at most ${unavailableMax} unavailable`,
    failureDomain === undefined ? undefined : `one at a time of each ${failureDomain}`,
    windows && `only in ${windows.join(", ")}`,
    classes.length > 0 ? `tolerates by class ${classes.join(", ")}` : undefined,
    errorRate && `stops above ${errorRate.limit} failures of ${errorRate.sample} completed or more`,
    strict ? "strict error limit" : undefined,
    countUnreachable ? "unreachable nodes count as failures" : undefined,
    stopWhen === undefined ? undefined : `stops when ${stopWhen}`,
    health === undefined ? undefined : `health: ${health}`,
    rollback === "never" ? undefined : rollbackText(rollback, rollbackWidth),
  ].filter((line) => line !== undefined)
}

function rollbackText(rollback: "on-failure" | "all", width: number | undefined): string {
  if (rollback === "on-failure") return "rolls failed nodes back"
  return `rolls all nodes back where it stops by itself${width === undefined ? "" : `, ${width} at once`}`
}
