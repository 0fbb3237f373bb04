import type { Claim } from "./claims.ts"
import type { DemoFleet } from "./demo-fleet.ts"
import type { Fault } from "./demo-plan.ts"
import type { DemoReport, KeptDemo } from "./demo-report.ts"
import type { DemoScreen } from "./demo-screen.ts"
import type { DemoContext } from "./demo-server.ts"
import type { SecretEvidence } from "./evidence.ts"

export type Footprint = Pick<
  DemoReport,
  "serverMegabytes" | "databaseMegabytes" | "agentMegabytes" | "installedMegabytes"
>

/** What the last line of --json says of any story. */
export interface StoryReport extends Footprint, Pick<DemoReport, "secondsToFirstSucceededNode" | "secondsTotal"> {
  readonly ok: boolean
  readonly nodes: number
  readonly claims: readonly Claim[]
  readonly kept?: KeptDemo
}

/** One tale over the demo's fleet, and the proof of it. */
export interface Story {
  /** After the word "demo:". */
  readonly headline: string
  /** Whether runs of the demo's workflow wait for its members. */
  readonly needsApproval: boolean
  /** What is wrong with machines, by their number from 1. */
  readonly faults: ReadonlyMap<number, Fault>
  tell(context: DemoContext, fleet: DemoFleet, screen: DemoScreen): Promise<Told>
}

export interface Told {
  readonly executionIds: readonly string[]
  /** Judged before anything is stopped. */
  judge(secret: SecretEvidence): Claim[]
  report(end: StoryEnd): StoryReport
}

export interface StoryEnd {
  readonly claims: readonly Claim[]
  readonly figures: Footprint
  readonly kept?: KeptDemo
}
