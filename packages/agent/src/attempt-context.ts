import { join } from "node:path"
import type { AgentFrame } from "@signalbox/contracts/fleet/agent-protocol"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { AgentLogger } from "./agent-logger.ts"
import type { AgentRunLimits } from "./agent-limits.ts"
import { attemptFileName } from "./attempt.ts"
import type { Artifact } from "./artifact-fetcher.ts"
import type { Journal } from "./journal.ts"
import type { ServerSteps } from "./server-steps.ts"

/** What running and rolling back need of the agent around them. */
export interface AttemptContext {
  readonly root: string
  readonly dataDirectory: string
  readonly journal: Journal
  readonly clock: Clock
  /** Milliseconds that only pass, by which time limits are measured: the machine's clock may be set meanwhile. */
  readonly uptime: () => number
  readonly random: Random
  readonly logger: AgentLogger
  readonly limits: AgentRunLimits
  /** Best effort: false where no session is open. What must arrive is sent again from the journal. */
  readonly send: (frame: AgentFrame) => boolean
  readonly backedUp: () => boolean
  readonly serverSteps: ServerSteps
  /** A file with the artifact's bytes, which the caller takes away. */
  readonly fetchArtifact: (artifact: Artifact, stop: AbortSignal) => Promise<string>
  /** Milliseconds of the server's clock, as far as it is known. */
  readonly serverNow: () => number
}

export function savedDirectory(context: Pick<AttemptContext, "dataDirectory">, key: string): string {
  return join(context.dataDirectory, "saved", attemptFileName(key))
}
