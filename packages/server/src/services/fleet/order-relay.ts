/**
 * Carries orders to nodes whose session another server holds, or none holds yet. Owns the orders that wait to be written
 * to `agent_outbox`. Invariants: an order is in this server's book or in a row, until its node has confirmed it; a row is
 * carried by the server that holds the node's session, whichever that is by then, and by each of them again. Notices
 * only make it quick: every server looks for rows by itself. What a node is told twice its journal answers, so no crash
 * between two of these steps runs anything twice.
 */
import type { Clock } from "@signalbox/kernel/clock"
import type { ExecutorOrder, SealedPlace, Sealer } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import type { Notifier } from "../../storage/notifier.ts"
import { Poller } from "../../storage/poller.ts"
import { WriteBatches } from "../../storage/write-batches.ts"
import type { Acknowledged } from "./acknowledgements.ts"
import { untilOf, type OrderRow } from "./order-book.ts"
import type { FleetLogger } from "./parts.ts"
import { relayPlace } from "./sealed-relay.ts"
import { findOrders, removeOrders, takeOrders, writeOrders, type FoundOrder, type WrittenOrder } from "./relay-store.ts"

export const relayLimits = {
  /** Rows of one statement, and the characters of the orders in it. */
  batchMax: 500,
  batchLengthMax: 8 * 1024 * 1024,
  /** Orders that wait for the database; more are dropped, and their tasks end as unreachable. */
  waitingMax: 100_000,
  pollMilliseconds: 500,
  /** Of an order that says no end itself. */
  rowMillisecondsMax: 3_600_000,
} as const

export interface OrderRelayParts {
  readonly sql: Sql
  readonly clock: Clock
  readonly logger: Pick<FleetLogger, "warn">
  readonly sealer: Sealer
  readonly notifier: Pick<Notifier, "notify" | "subscribe">
  readonly serverId: string
}

/** What the relay asks of the server that it is part of. */
export interface RelayedOrders {
  hasSession(nodeId: string): boolean
  /** Sends an order that came by the outbox, and keeps it; false where that isn't possible now. */
  carry(order: ExecutorOrder, row: OrderRow): boolean
  /** This order has a row. */
  handOver(order: ExecutorOrder): void
  acknowledged(report: Acknowledged): void
}

const ordersChannel = "agent_orders"
const acknowledgementsChannel = "agent_acknowledgements"

export class OrderRelay {
  readonly #parts: OrderRelayParts
  readonly #outgoing: WriteBatches<ExecutorOrder>
  readonly #over: WriteBatches<OrderRow>
  readonly #poller: Poller
  readonly #unsubscribe: Array<() => void> = []
  #here: RelayedOrders | undefined

  constructor(parts: OrderRelayParts) {
    this.#parts = parts
    const limits = { batchMax: relayLimits.batchMax, waitingMax: relayLimits.waitingMax }
    const onError = (error: unknown): void => this.#warn(error)
    this.#outgoing = new WriteBatches({ ...limits, write: (orders) => this.#write(orders), onError })
    this.#over = new WriteBatches({ ...limits, write: (rows) => removeOrders(parts.sql, rows), onError })
    this.#poller = new Poller({ everyMilliseconds: relayLimits.pollMilliseconds, look: () => this.#look(), onError })
  }

  listen(here: RelayedOrders): void {
    this.#here = here
  }

  start(): void {
    const { notifier } = this.#parts
    this.#unsubscribe.push(
      notifier.subscribe(ordersChannel, (nodeIds) => {
        if (nodeIds === "missed" || nodeIds.some((nodeId) => this.#here?.hasSession(nodeId))) this.look()
      }),
      notifier.subscribe(acknowledgementsChannel, (notices) => this.#hearAcknowledgements(notices)),
    )
    this.#poller.start()
  }

  async stop(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
    await this.#poller.stop()
    await this.#outgoing.stop()
    await this.#over.stop()
  }

  /** For nodes that have no session here. */
  send(orders: readonly ExecutorOrder[]): void {
    for (const order of orders) {
      if (!this.#outgoing.add(order)) this.#warn(new Error(`dropped the order ${order.key}: too many wait`))
    }
  }

  /** A row's order is over. */
  over(row: OrderRow): void {
    this.#over.add(row)
  }

  forget(executionId: string): void {
    this.#outgoing.remove(({ key }) => key.startsWith(`${executionId}/`))
  }

  /** Tells whichever server has the node. A notice that is lost is made up for: the node says its result again. */
  acknowledge({ nodeId, key, phase }: Acknowledged): void {
    this.#parts.notifier.notify(acknowledgementsChannel, JSON.stringify([nodeId, key, phase]))
  }

  /** A hint that there may be orders to carry from here. */
  look(): void {
    this.#poller.hint()
  }

  async #look(): Promise<void> {
    const { sql, serverId } = this.#parts
    for (;;) {
      const found = await findOrders(sql, serverId, relayLimits.batchMax)
      const taken = found.filter((row) => this.#carry(row))
      if (taken.length > 0) await takeOrders(sql, serverId, taken)
      if (found.length < relayLimits.batchMax || taken.length === 0) return
    }
  }

  #carry(row: FoundOrder): boolean {
    try {
      const { nodeId, key, type, version } = row
      return this.#here?.carry(readOrder(this.#parts.sealer, row), { nodeId, key, type, version }) ?? false
    } catch (error) {
      this.#warn(error)
      return false
    }
  }

  async #write(orders: readonly ExecutorOrder[]): Promise<void> {
    const { sql, sealer, clock, notifier } = this.#parts
    const now = clock.now()
    // A node that has connected here meanwhile was told by the book.
    const away = orders.filter((order) => !this.#here?.hasSession(order.nodeId) && untilOf(order, now) > now)
    for (const part of partsOf(newestOf(away).map((order) => ({ order, row: writtenOf(sealer, order, now) })))) {
      await writeOrders(
        sql,
        part.map(({ row }) => row),
      )
      for (const { order } of part) this.#here?.handOver(order)
      for (const nodeId of new Set(part.map(({ order }) => order.nodeId))) notifier.notify(ordersChannel, nodeId)
    }
  }

  #hearAcknowledgements(notices: readonly string[] | "missed"): void {
    if (notices === "missed") return
    for (const notice of notices) {
      const [nodeId, key, phase] = JSON.parse(notice) as [string, string, Acknowledged["phase"]]
      if (this.#here?.hasSession(nodeId)) this.#here.acknowledged({ nodeId, key, phase })
    }
  }

  #warn(error: unknown): void {
    this.#parts.logger.warn({ err: error }, "carrying orders between servers failed; it is tried again")
  }
}

interface Outgoing {
  readonly order: ExecutorOrder
  readonly row: WrittenOrder
}

/** Each order once, and no start that is killed in the same batch. */
function newestOf(orders: readonly ExecutorOrder[]): ExecutorOrder[] {
  const newest = new Map(orders.map((order) => [`${order.nodeId} ${order.type} ${order.key}`, order]))
  for (const { type, nodeId, key } of orders) if (type === "kill") newest.delete(`${nodeId} start ${key}`)
  return [...newest.values()]
}

/** Lists that are short enough for one statement each. */
function partsOf(all: readonly Outgoing[]): Outgoing[][] {
  const parts: Outgoing[][] = []
  let length = Infinity
  for (const one of all) {
    length += one.row.content.length
    if (length > relayLimits.batchLengthMax) {
      parts.push([])
      length = one.row.content.length
    }
    parts.at(-1)?.push(one)
  }
  return parts
}

const placeOf = ({ nodeId, type, key }: Pick<ExecutorOrder, "nodeId" | "type" | "key">): SealedPlace =>
  relayPlace(`order ${nodeId} ${key} ${type}`)

function writtenOf(sealer: Sealer, order: ExecutorOrder, now: number): WrittenOrder {
  const { nodeId, key, type } = order
  const secrets = order.type === "kill" ? undefined : order.secrets
  const content = { ...order, nodeId: undefined, key: undefined, type: undefined, secrets: undefined }
  return {
    ...{ nodeId, key, type },
    content: JSON.stringify(content),
    sealed: secrets ? sealer.seal(placeOf(order), JSON.stringify(secrets)) : null,
    expiresAt: Math.min(untilOf(order, now), now + relayLimits.rowMillisecondsMax),
  }
}

/** @throws secrets.unreadable */
function readOrder(sealer: Sealer, row: FoundOrder): ExecutorOrder {
  const { nodeId, key, type, content, sealed } = row
  const secrets = sealed === null ? {} : { secrets: JSON.parse(sealer.unseal(placeOf(row), sealed)) as unknown }
  return { ...(content as object), ...secrets, type, nodeId, key } as ExecutorOrder
}
