import type { Claim } from "./claims.ts"
import type { DemoFleet, FleetWish } from "./demo-fleet.ts"
import type { Footprint, KeptDemo, StoryReport } from "./demo-report.ts"
import type { DemoScreen } from "./demo-screen.ts"
import type { DemoContext } from "./demo-server.ts"
import type { SecretEvidence } from "./evidence.ts"

/** One tale over the demo's fleet, and the proof of it. */
export interface Story extends FleetWish {
  /** After the word "demo:". */
  readonly headline: string
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
