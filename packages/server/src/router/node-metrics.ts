import type { MetricSample, MetricWatch } from "@signalbox/contracts/fleet/metrics"

/** A port of the fleet: what nodes measure, over the sessions that this server has. */
export interface NodeMetrics {
  /** There is one listener: it decides what is measured. */
  listen(listener: NodeMetricsListener): void
  /** The nodes whose sessions are open here. */
  connected(): Iterable<ConnectedNode>
  /** What a node measures from now on, in the place of what it was told before. Nothing where its session isn't here. */
  watch(nodeId: string, watches: readonly MetricWatch[]): void
  /** Names and tags as they are now, of those that there are. */
  describe(nodeIds: readonly string[]): Promise<DescribedNode[]>
}

export interface ConnectedNode {
  readonly account: string
  readonly nodeId: string
}

export interface DescribedNode extends ConnectedNode {
  readonly name: string
  readonly tags: Readonly<Record<string, string>>
}

export interface NodeMetricsListener {
  /** A session is open. It measures nothing until it is told to. */
  opened(node: ConnectedNode): void
  measured(node: ConnectedNode, samples: readonly MetricSample[]): void
  closed(node: ConnectedNode): void
}
