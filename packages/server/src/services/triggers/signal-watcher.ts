/**
 * Evaluates signals on the nodes whose sessions this server has. Owns what these nodes were told to measure, their last
 * samples, and the position of each signal as it was read or written last. Nothing here has to survive: positions are
 * rows, and a write that finds another version there reads the node anew.
 */
import type { MetricSample, MetricWatch } from "@signalbox/contracts/fleet/metrics"
import { triggerLimits } from "@signalbox/contracts/triggers/trigger-limits"
import type { ConnectedNode, DescribedNode, NodeMetricsListener } from "../../router/node-metrics.ts"
import { WriteBatches } from "../../storage/write-batches.ts"
import type { TriggersOptions } from "./options.ts"
import type { SignalDirectory } from "./signal-directory.ts"
import { advance, classify, type SignalInput } from "./signal-machine.ts"
import type { CompiledSignal } from "./signal-spec.ts"
import { readStates, type StateRow } from "./state-store.ts"
import { stateKey, type StateChange, type StateWriter } from "./state-writer.ts"

export interface Sample {
  readonly at: number
  readonly value?: number | undefined
  readonly problem?: string | undefined
}

interface Tracked {
  readonly signal: CompiledSignal
  row: StateRow
  latest: Sample | undefined
  /** When a number came last, or was asked for first. */
  heardAt: number
  /** A change is being written. */
  writing: boolean
}

interface WatchedNode {
  readonly account: string
  /** What the session was told, so that nothing is told twice. */
  told: string | undefined
  tracked: Map<string, Tracked>
}

const nodesPerLookMax = 500
const changesPerWriteMax = 200
const changesWaitingMax = 50_000
/** Intervals without a number after which data counts as missing, whatever the signal's own time. */
const missedIntervals = 3

export class SignalWatcher implements NodeMetricsListener {
  readonly #options: TriggersOptions
  readonly #directory: SignalDirectory
  readonly #nodes = new Map<string, WatchedNode>()
  readonly #toLook = new Set<string>()
  /** Could not be read; looked at again by the scan. */
  readonly #unread = new Set<string>()
  readonly #changes: WriteBatches<{ tracked: Tracked; change: StateChange }>
  readonly #writer: StateWriter
  #looking: Promise<void> | undefined
  #stopped = false

  constructor(options: TriggersOptions, parts: { directory: SignalDirectory; writer: StateWriter }) {
    this.#options = options
    this.#directory = parts.directory
    this.#writer = parts.writer
    this.#changes = new WriteBatches({
      batchMax: changesPerWriteMax,
      waitingMax: changesWaitingMax,
      write: (batch) => this.#write(batch),
      onError: (error) => options.logger.warn({ err: error }, "states of signals could not be written; tried again"),
    })
  }

  opened({ account, nodeId }: ConnectedNode): void {
    this.#nodes.set(nodeId, { account, told: undefined, tracked: new Map() })
    if (this.#directory.hasSignals(account)) this.look([nodeId])
  }

  closed({ nodeId }: ConnectedNode): void {
    this.#nodes.delete(nodeId)
  }

  measured({ nodeId }: ConnectedNode, samples: readonly MetricSample[]): void {
    const node = this.#nodes.get(nodeId)
    if (!node) return
    const now = this.#options.clock.now()
    for (const { id, ...sample } of samples) {
      for (const tracked of node.tracked.values())
        if (tracked.signal.watch.id === id) this.#take(tracked, { at: now, ...sample })
    }
  }

  /** Reads these nodes anew, where they are connected here: their tags, and what is on record of them. */
  look(nodeIds: Iterable<string>): void {
    for (const nodeId of nodeIds) if (this.#nodes.has(nodeId)) this.#toLook.add(nodeId)
    this.#beginLook()
  }

  /** An account's signals are others now. */
  lookAtAccount(account: string): void {
    this.look([...this.#nodes].filter(([, node]) => node.account === account).map(([nodeId]) => nodeId))
  }

  lookAtAll(): void {
    this.look([...this.#nodes].filter(([, { account }]) => this.#directory.hasSignals(account)).map(([id]) => id))
  }

  /** What a node said last, where its session is here. */
  latest(nodeId: string, signalId: string): Sample | undefined {
    return this.#nodes.get(nodeId)?.tracked.get(signalId)?.latest
  }

  /** Looks for nodes that are connected and tell no numbers. */
  checkMissing(): void {
    const now = this.#options.clock.now()
    for (const { tracked: all } of this.#nodes.values()) {
      for (const tracked of all.values()) {
        const { as } = tracked.signal.spec.missing
        if (as === "keep" || tracked.row.state === as) continue
        const { missingAfterMs, watch } = tracked.signal
        const wait = Math.max(missingAfterMs, missedIntervals * watch.everyMilliseconds)
        if (now - tracked.heardAt >= wait) this.#step(tracked, { type: "missing", as })
      }
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#looking
    await this.#changes.stop()
  }

  #take(tracked: Tracked, sample: Sample): void {
    tracked.latest = sample
    if (sample.value === undefined) return this.#noteUnknown(tracked)
    tracked.heardAt = sample.at
    this.#step(tracked, classify(tracked.signal.rule, sample.value), sample.value)
  }

  /** A figure that never came is on record too: else nobody would see the node, nor what its problem is. */
  #noteUnknown(tracked: Tracked): void {
    const { row, writing } = tracked
    if (writing || row.version > 0) return
    const to = { state: "unknown", since: this.#options.clock.now(), value: null } as const
    tracked.writing = this.#changes.add({ tracked, change: { from: row, to, reason: "missing" } })
  }

  /** One change at a time: what comes while it is written is judged by the next sample. */
  #step(tracked: Tracked, input: SignalInput, value?: number): void {
    if (tracked.writing) return
    const { row, signal } = tracked
    const now = this.#options.clock.now()
    const next = advance(row, input, { rule: signal.rule, now })
    if (next.state === row.state) return
    const to = { ...next, value: value ?? null }
    const reason = input.type === "missing" ? "missing" : "threshold"
    tracked.writing = this.#changes.add({ tracked, change: { from: row, to, reason } })
  }

  async #write(batch: ReadonlyArray<{ tracked: Tracked; change: StateChange }>): Promise<void> {
    const written = await this.#writer.write(batch.map(({ change }) => change))
    const others: string[] = []
    for (const { tracked, change } of batch) {
      const row = written.get(stateKey(change.from))
      if (row) tracked.row = row
      else others.push(change.from.nodeId)
      tracked.writing = false
    }
    this.look(others)
  }

  #beginLook(): void {
    if (this.#toLook.size === 0 || this.#stopped) return
    this.#looking ??= this.#lookAtAll().finally(() => {
      this.#looking = undefined
      this.#beginLook()
    })
  }

  async #lookAtAll(): Promise<void> {
    while (this.#toLook.size > 0 && !this.#stopped) {
      const nodeIds = [...this.#toLook].slice(0, nodesPerLookMax)
      for (const nodeId of nodeIds) this.#toLook.delete(nodeId)
      try {
        await this.#lookAt(nodeIds)
      } catch (error) {
        this.#options.logger.warn({ err: error }, "signals of nodes could not be read; it is tried again")
        for (const nodeId of nodeIds) this.#unread.add(nodeId)
      }
    }
  }

  /** Those that could not be read before. */
  lookAgain(): void {
    const nodeIds = [...this.#unread]
    this.#unread.clear()
    this.look(nodeIds)
  }

  async #lookAt(nodeIds: readonly string[]): Promise<void> {
    const described = await this.#options.metrics.describe(nodeIds)
    const rows = Map.groupBy(await readStates(this.#options.database, nodeIds), ({ nodeId }) => nodeId)
    for (const node of described) this.#place(node, rows.get(node.nodeId) ?? [])
  }

  #place({ account, nodeId, name, tags }: DescribedNode, rows: readonly StateRow[]): void {
    const node = this.#nodes.get(nodeId)
    if (!node) return
    const now = this.#options.clock.now()
    const labels = { ...tags, node: name }
    const byId = new Map(rows.map((row) => [row.signalId, row]))
    const before = node.tracked
    const signals = this.#directory.matching(account, tags)
    const watches = watchesOf(signals)
    node.tracked = new Map()
    for (const signal of signals) {
      const known = before.get(signal.id)
      const fresh = { nodeId, signalId: signal.id, account, state: "unknown", since: now, value: null } as const
      const stored = byId.get(signal.id) ?? { ...fresh, silenced: null, version: 0 }
      const row: StateRow = { ...stored, signal: signal.name, node: name, labels }
      const { latest, heardAt = now } = known ?? {}
      const tracked = { signal, row, latest, heardAt, writing: false }
      node.tracked.set(signal.id, tracked)
      // By another threshold, or after a change that could not be written, what was said last says something else.
      if (latest?.value !== undefined) this.#step(tracked, classify(signal.rule, latest.value), latest.value)
    }
    this.#letGo(rows.filter((row) => !node.tracked.has(row.signalId)))
    const told = watches.map(({ id, everyMilliseconds }) => `${id}/${everyMilliseconds}`).join(" ")
    const { told: toldBefore = "" } = node
    node.told = told
    if (told === toldBefore) return
    this.#options.metrics.watch(nodeId, watches)
  }

  /** Signals that watch the node no more; those of removed signals are gone with them. */
  #letGo(rows: readonly StateRow[]): void {
    for (const row of rows) {
      const signal = this.#directory.find(row.account, row.signalId)
      if (!signal || row.state === "unknown") continue
      const tracked: Tracked = { signal, row, latest: undefined, heardAt: 0, writing: true }
      const to = { state: "unknown", since: this.#options.clock.now(), value: null } as const
      this.#changes.add({ tracked, change: { from: row, to, reason: "not-watched" } })
    }
  }
}

/** What the signals need, each figure once. */
function watchesOf(signals: readonly CompiledSignal[]): MetricWatch[] {
  const byId = new Map(signals.map(({ watch }) => [watch.id, watch]))
  return [...byId.values()].slice(0, triggerLimits.watchesPerNodeMax)
}
