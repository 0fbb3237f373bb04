import type { KeptOutput, StepResult } from "@signalbox/contracts/fleet/agent-protocol"

/** How one try of a step, or of what undoes it, ended. */
export interface TryResult extends Partial<Pick<StepResult, "exitCode" | "signal" | "message" | "changed" | "denied">> {
  readonly state: "succeeded" | "failed" | "timed-out" | "killed"
  readonly stdout?: KeptOutput
  readonly stderr?: KeptOutput
  /** What the step gave by itself, by name. */
  readonly values?: Readonly<Record<string, string>>
  /** What a server's answer adds to that over which outputs are evaluated. */
  readonly reply?: Readonly<Record<string, unknown>>
  /** The order's secrets, told once more; never written down. */
  readonly secrets?: Readonly<Record<string, string>>
}
