import type { MetricWatch } from "@signalbox/contracts/fleet/metrics"
import type { ConnectedNode, DescribedNode, NodeMetrics, NodeMetricsListener } from "../../router/node-metrics.ts"
import type { Sql } from "../../storage/database.ts"
import { describeNodes } from "./node-store.ts"
import type { RegistryListener, SessionRegistry } from "./session-registry.ts"
import type { AgentSession, WorkFrame } from "./session.ts"

/** Carries what nodes are to measure, and what they measured, over the sessions of this server. Keeps nothing. */
export class SessionMetrics implements NodeMetrics, RegistryListener {
  readonly #sql: Sql
  readonly #sessions: Pick<SessionRegistry, "find" | "openSessions">
  #listener: NodeMetricsListener | undefined

  constructor(sql: Sql, sessions: Pick<SessionRegistry, "find" | "openSessions">) {
    this.#sql = sql
    this.#sessions = sessions
  }

  listen(listener: NodeMetricsListener): void {
    this.#listener = listener
  }

  *connected(): Iterable<ConnectedNode> {
    for (const { identity } of this.#sessions.openSessions) yield identity
  }

  watch(nodeId: string, watches: readonly MetricWatch[]): void {
    this.#sessions.find(nodeId)?.send({ type: "watch-metrics", watches: [...watches] })
  }

  describe(nodeIds: readonly string[]): Promise<DescribedNode[]> {
    return describeNodes(this.#sql, nodeIds)
  }

  opened({ identity }: AgentSession): void {
    this.#listener?.opened(identity)
  }

  closed({ identity }: AgentSession): void {
    this.#listener?.closed(identity)
  }

  work({ identity }: AgentSession, frame: WorkFrame): void {
    if (frame.type === "metrics") this.#listener?.measured(identity, frame.samples)
  }
}
