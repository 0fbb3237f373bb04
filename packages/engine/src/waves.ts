import { assert } from "@signalbox/kernel/assert"
import { resolveWidth, type Limit } from "./limits.ts"
import { wavesCountMax } from "./plan.ts"

/**
 * Where each wave ends, for `EnginePlan.waves`. A size is a count or a share of all targets (rounded down), never below
 * 1; the last size repeats. Where that made more than 1,000 waves, the last one takes all that is left. Without
 * targets there are no waves. Source of the rule: `serial` of Ansible.
 *
 * @example resolveWaves([1, 5, "20%"], 20) // [1, 6, 10, 14, 18, 20]
 */
export function resolveWaves(sizes: readonly Limit[], targetsCount: number): number[] {
  const last = sizes.at(-1)
  assert(last !== undefined && sizes.length <= wavesCountMax, `a run has 1 to ${wavesCountMax} sizes of waves`)
  const ends: number[] = []
  for (let end = 0; end < targetsCount;) {
    const left = ends.length + 1 === wavesCountMax
    end = left ? targetsCount : Math.min(targetsCount, end + resolveWidth(sizes[ends.length] ?? last, targetsCount))
    ends.push(end)
  }
  return ends
}

/** The number, from 1, of the wave in which `ordinalsCount` targets have been started: the first that ends there or later. */
export function waveOf(waves: readonly number[] | undefined, ordinalsCount: number): number {
  let low = 0
  let high = (waves?.length ?? 1) - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((waves?.[middle] ?? 0) >= ordinalsCount) high = middle
    else low = middle + 1
  }
  return low + 1
}
