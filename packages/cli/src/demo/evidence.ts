import type { Span, Spell } from "./availability.ts"
import type { Fault } from "./demo-plan.ts"
import type { FileCopy } from "./file-copy.ts"
import type { JournalEntry } from "./node-journal.ts"

/** What was found on one node and seen of it from outside, about one run. */
export interface NodeEvidence {
  readonly name: string
  readonly fault: Fault
  readonly versionBefore: string | undefined
  readonly versionAfter: string | undefined
  /** All that the prober saw between the start of the run and the end of it. */
  readonly spells: readonly Spell[]
  /** Entries of this run in the node's own journal. */
  readonly entries: readonly JournalEntry[]
  /** How often the service was started during the run, told by itself. */
  readonly serviceStarts: number
  readonly configurationAfter: string
  readonly filesBefore: ReadonlyMap<string, FileCopy>
  readonly filesAfter: ReadonlyMap<string, FileCopy>
}

export interface RunEvidence {
  readonly executionId: string
  readonly approval: ApprovalEvidence
  readonly version: string
  readonly workers: number
  readonly errorLimit: number
  /** Nodes at once when it began; until `widenedAt` where it was widened (milliseconds since 1970). */
  readonly width: number
  readonly widenedAt?: number
  readonly secret: string
  /** How often the service as a whole was asked for its health during the run, and how often it was well. */
  readonly health: { readonly asked: number; readonly well: number }
  /** Times of `performance.now()`. */
  readonly span: Span
  readonly nodes: readonly NodeEvidence[]
  /** What the server says of this run: compared with the nodes, and believed in nothing. */
  readonly server: {
    readonly succeeded: number
    readonly failed: number
    readonly rolledBack: number
    readonly neverStarted: number
  }
}

/** How a run came to be allowed. */
export interface ApprovalEvidence {
  readonly requestId: string
  readonly executionId: string
  /** SHA-256 of what was approved in the end. */
  readonly digest: string
  /** How often links in mails were opened before anybody answered, and how many votes that made. */
  readonly linksOpened: number
  readonly votesByOpening: number
  /** Of an edit between the levels: votes that it voided, and how a link of before was answered. */
  readonly votesVoided?: number
  readonly oldLinkStatus?: number
  /** When the last member pressed the button, in milliseconds since 1970. */
  readonly approvedAt: number
}

/** Where a secret's value was looked for, and where its place is marked by `***`. */
export interface SecretEvidence {
  readonly filesSearched: number
  readonly found: readonly string[]
  readonly outputsMasked: number
}

export interface ProbingEvidence {
  readonly probesCount: number
  readonly pauseMaxMilliseconds: number
}
