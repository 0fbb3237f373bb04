/**
 * The nodes of the tasks that are, or soon will be, in flight. Owns a map over a window of ordinals, loaded ahead of
 * need and dropped behind, so that a million targets are never a million objects. Only the runner uses it.
 */
import { startsPerStepMax } from "@signalbox/engine/scheduler"
import type { Sql } from "../../storage/database.ts"
import { readNodes, readNodesOf, type WindowNode } from "./batch-store.ts"
import type { ClaimedExecution } from "./claimed-execution.ts"

export interface WindowEntry extends WindowNode {
  sentAt?: number
  /** The task has a row, or may have one. */
  written: boolean
}

export const windowNodesMin = 1_000
export const windowNodesMax = 4_000

export interface NodeWindowOptions {
  readonly sql: Sql
  readonly claimed: ClaimedExecution
  readonly targetsCount: number
  /** Tasks in flight at first. */
  readonly width: number
}

export class NodeWindow {
  readonly #options: NodeWindowOptions
  readonly #nodes = new Map<number, WindowEntry>()
  /** Of a rollback run: the same entries by the ordinals of the run that it puts back. */
  readonly #byOrigin = new Map<number, WindowEntry>()
  readonly #chunk: number
  #end: number
  #loading: Promise<void> | undefined

  constructor(options: NodeWindowOptions, from: number) {
    this.#options = options
    this.#end = from
    this.#chunk = Math.min(windowNodesMax, Math.max(windowNodesMin, 2 * options.width))
  }

  get(ordinal: number): WindowEntry | undefined {
    return this.#nodes.get(ordinal)
  }

  findByOrigin(ordinal: number): WindowEntry | undefined {
    return this.#byOrigin.get(ordinal)
  }

  drop(ordinal: number): void {
    const origin = this.#nodes.get(ordinal)?.originOrdinal
    if (origin !== null && origin !== undefined) this.#byOrigin.delete(origin)
    this.#nodes.delete(ordinal)
  }

  /** Resolves once every task that the next step may start is there; begins to load what follows. */
  async prepare(nextOrdinal: number, width: number): Promise<void> {
    const { targetsCount } = this.#options
    const startsMax = Math.min(width, startsPerStepMax)
    const needed = Math.min(targetsCount, nextOrdinal + startsMax)
    while (this.#end < needed) await this.#load()
    if (this.#end < targetsCount && this.#end - nextOrdinal < this.#chunk + startsMax) void this.#load().catch(() => {})
  }

  /** The first nodes, from whoever has them at hand. */
  seed(nodes: readonly WindowNode[]): void {
    this.#keep(nodes, false)
    this.#end = Math.max(this.#end, nodes.length)
  }

  /** The nodes of tasks that are in flight already, after a recovery. */
  async loadOpen(ordinals: readonly number[]): Promise<void> {
    const { sql, claimed } = this.#options
    if (ordinals.length === 0) return
    this.#keep(await readNodesOf(sql, { account: claimed.account, execution: claimed.id, ordinals }), true)
  }

  #load(): Promise<void> {
    this.#loading ??= this.#loadNext().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #loadNext(): Promise<void> {
    const { sql, claimed, targetsCount } = this.#options
    const from = this.#end
    const to = Math.min(targetsCount, from + this.#chunk)
    const nodes = await readNodes(sql, { account: claimed.account, execution: claimed.id, from, to })
    this.#keep(nodes, false)
    this.#end = to
  }

  #keep(nodes: readonly WindowNode[], written: boolean): void {
    for (const node of nodes) {
      const entry = { ...node, written }
      this.#nodes.set(node.ordinal, entry)
      const { originOrdinal } = node
      if (originOrdinal !== null && originOrdinal !== undefined) this.#byOrigin.set(originOrdinal, entry)
    }
  }
}
