import { interleaveByDomain } from "../failure-domains.ts"
import { resolveErrorsMax, resolveWidth } from "../limits.ts"
import { recoverState } from "../recover.ts"
import { newState, step } from "../scheduler.ts"
import { resolveWaves } from "../waves.ts"

/** The engine under test; faults are planted by giving another one. */
export interface Engine {
  readonly newState: typeof newState
  readonly step: typeof step
  readonly recoverState: typeof recoverState
  readonly resolveWidth: typeof resolveWidth
  readonly resolveErrorsMax: typeof resolveErrorsMax
  readonly resolveWaves: typeof resolveWaves
  readonly interleaveByDomain: typeof interleaveByDomain
}

export const realEngine: Engine = {
  newState,
  step,
  recoverState,
  resolveWidth,
  resolveErrorsMax,
  resolveWaves,
  interleaveByDomain,
}
