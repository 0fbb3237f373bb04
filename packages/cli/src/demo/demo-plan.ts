/** What the demo does, in numbers; the claims are judged by these and by nothing the server says. */
export const demoPlan = {
  nodesCount: 12,
  concurrency: 4,
  /**
   * Begins with two at once and is widened to `concurrency` when so many nodes are done. It was asked for with another
   * error limit: that is changed between the two levels of its approval.
   */
  firstRun: { version: "v2", workers: 2, errorLimit: 2, width: 2, strict: false, widenAfter: 3, errorLimitAsked: 6 },
  /** No workers: the service of every node that takes it answers 503. */
  secondRun: { version: "v3", workers: 0, errorLimit: 1, width: 4, strict: true },
  /** The first wave is one node; so long it bakes. */
  bakeMilliseconds: 1_000,
  healthEvery: "500ms",
  versionBefore: "v1",
} as const

export const demoLimits = {
  serverReadyMilliseconds: 60_000,
  servicesReadyMilliseconds: 30_000,
  agentsReadyMilliseconds: 60_000,
  /** Until a mail is there, a page answers, or an approved run has begun. */
  mailMilliseconds: 30_000,
  executionMilliseconds: 90_000,
  /** One command, from its start to its end. */
  commandMilliseconds: 60_000,
  /** From the server's word that a run has ended until nodes, journals and services must show it too. */
  settleMilliseconds: 10_000,
  pollMilliseconds: 50,
  /** Command lines that start at once; each costs a core for some tenths of a second. */
  startsAtOnce: 4,
  /** Between two questions to the same service. */
  probeMilliseconds: 15,
  /** A service that takes longer to answer counts as not available. */
  probeTimeoutMilliseconds: 1_000,
  /** How long a service loads before it listens, as real ones do; so a restart can't fall between two probes. */
  serviceWarmUpMilliseconds: 400,
  answerBytesMax: 4_096,
  logTailLines: 12,
} as const

/** What is wrong with a node on purpose. */
export type Fault = "none" | "service-refuses-v2" | "check-refuses-v2"

/** Faults by the node's number, from 1. */
export const faults: ReadonlyMap<number, Fault> = new Map([
  [4, "service-refuses-v2"],
  [9, "check-refuses-v2"],
])

export function faultOf(nodeNumber: number): Fault {
  return faults.get(nodeNumber) ?? "none"
}

export const faultyNodesCount: number = faults.size
