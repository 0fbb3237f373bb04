import { assert } from "@signalbox/kernel/assert"
import { wholeShare } from "./plan.ts"

/** A limit as a person writes it: a count, or a share of the targets such as "25%" (up to three decimals: "0.5%"). */
export type Limit = number | `${string}%`

export interface SelfSizedLimits {
  readonly width: number
  readonly errorsMax: number
}

const percentPattern = /^(\d{1,3})(?:\.(\d{1,3}))?%$/
/**
 * Thousandths of a percent of a percentage from "0%" to "100%", so that "0.1%" of 1,000 is exactly 1; undefined where
 * the text is none.
 */
export function findPercent(text: string): number | undefined {
  const match = percentPattern.exec(text)
  if (!match) return undefined
  const share = Number(match[1]) * 1000 + Number((match[2] ?? "").padEnd(3, "0"))
  return share <= wholeShare ? share : undefined
}

function shareOf(text: string, targetsCount: number): number {
  const share = findPercent(text)
  assert(share !== undefined, `a percentage is 0% to 100%, not "${text}"`)
  return Math.floor((share * targetsCount) / wholeShare)
}

function checkCounts(limit: Limit, targetsCount: number): void {
  assert(Number.isInteger(targetsCount) && targetsCount >= 0, "a count of targets is a whole number")
  assert(
    typeof limit === "string" || (Number.isInteger(limit) && limit >= 0),
    "a limit is a whole number or a percentage",
  )
}

/**
 * How many targets may be in flight: a percentage rounds down, and the result is at least 1 and at most the targets.
 *
 * @example resolveWidth("25%", 10) // 2
 */
export function resolveWidth(limit: Limit, targetsCount: number): number {
  checkCounts(limit, targetsCount)
  const width = typeof limit === "string" ? shareOf(limit, targetsCount) : limit
  return Math.max(1, Math.min(width, targetsCount))
}

/**
 * How many failures are tolerated; the run stops at one more. A percentage rounds down. N is frozen at the plan.
 * Source of the rule: rate control of AWS Systems Manager, of whose two contradicting texts the API reference is taken.
 *
 * @example resolveErrorsMax("10%", 50) // 5: stops at the 6th
 */
export function resolveErrorsMax(limit: Limit, targetsCount: number): number {
  checkCounts(limit, targetsCount)
  return typeof limit === "string" ? shareOf(limit, targetsCount) : limit
}

/** Limits for a run that names none, by the number of its targets (W11; the table of "Patch now" in Systems Manager). */
export function selfSizedLimits(targetsCount: number): SelfSizedLimits {
  if (targetsCount < 25) return { width: 1, errorsMax: 1 }
  if (targetsCount <= 100) return { width: resolveWidth("5%", targetsCount), errorsMax: 5 }
  if (targetsCount <= 1000) return { width: resolveWidth("8%", targetsCount), errorsMax: 10 }
  return { width: resolveWidth("10%", targetsCount), errorsMax: 10 }
}
