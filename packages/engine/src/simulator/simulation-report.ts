import type { EnginePlan } from "../plan.ts"
import type { StopCause } from "../types.ts"
import type { Scenario } from "./scenario.ts"

export interface SimulationReport {
  readonly seed: number
  readonly scenario: Scenario
  readonly plan: EnginePlan
  readonly steps: number
  readonly crashes: number
  readonly execution: string
  /** What stopped the run, if anything did. */
  readonly stopBy: StopCause["by"] | undefined
  readonly failure: { readonly invariant: string; readonly message: string } | undefined
  /** What happened, one line an event; empty unless asked for. */
  readonly trace: readonly string[]
}
