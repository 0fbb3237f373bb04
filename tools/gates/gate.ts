import type { Repository } from "../repository.ts"

/** One check of the whole repository. It reports problems; it never throws for one and never changes a file. */
export interface Gate {
  readonly name: string
  run(repository: Repository): Promise<GateResult>
}

export interface GateResult {
  /** What is wrong, one line each, beginning with the path where there is one; none: the gate passes. */
  readonly problems: readonly string[]
  /** What was looked at, in a few words, so that a gate that looks at nothing is noticed. */
  readonly note: string
  /** Shown below the gate's line whether it passes or not. */
  readonly table?: string
}
