/** A run's width and error limit: as given, and in numbers for its targets. Pure. */
import { resolveErrorsMax, resolveWidth, selfSizedLimits, type Limit } from "@signalbox/engine/limits"

/** `7`, `"7"` and `"25%"` as the engine takes them. */
export function toLimit(given: number | string): Limit {
  return typeof given === "string" && given.endsWith("%") ? (given as `${string}%`) : Number(given)
}

export interface LimitChoice {
  readonly concurrency: string
  readonly errorLimit: string
  readonly width: number
  readonly errorsMax: number
}

interface LimitsGiven {
  readonly concurrency?: number | string | undefined
  readonly errorLimit?: number | string | undefined
}

/** What is given, else by the number of targets (W4, W5, W11). */
export function chooseLimits({ concurrency, errorLimit }: LimitsGiven, targetsCount: number): LimitChoice {
  const sized = selfSizedLimits(targetsCount)
  return {
    concurrency: concurrency === undefined ? automatic : String(concurrency),
    errorLimit: errorLimit === undefined ? automatic : String(errorLimit),
    width: concurrency === undefined ? sized.width : resolveWidth(toLimit(concurrency), targetsCount),
    errorsMax: errorLimit === undefined ? sized.errorsMax : resolveErrorsMax(toLimit(errorLimit), targetsCount),
  }
}

const automatic = "automatic"

/** The same choice again from the texts that are stored, for the number of targets that the plan found. */
export function resolveStoredLimits(
  stored: { readonly concurrency: string; readonly errorLimit: string },
  targetsCount: number,
): LimitChoice {
  const given = {
    concurrency: stored.concurrency === automatic ? undefined : stored.concurrency,
    errorLimit: stored.errorLimit === automatic ? undefined : stored.errorLimit,
  }
  return chooseLimits(given, targetsCount)
}
