/**
 * Carries the engine's orders to nodes over their sessions, and reports back. Owns the orders not yet confirmed: they
 * go out at once, and again to a node that reconnects, until it says that it has them. A report's node is always that
 * of the session it came over, whatever the frame says.
 */
import type { ServerFrame } from "@signalbox/contracts/fleet/agent-protocol"
import { assert } from "@signalbox/kernel/assert"
import { toInstant } from "@signalbox/kernel/clock"
import type { Executor, ExecutorOrder, ExecutorReport, StepAnswer } from "../../router/ports.ts"
import { acknowledgementLimits, Acknowledgements, type Acknowledged } from "./acknowledgements.ts"
import { LiveReports } from "./live-reports.ts"
import { OrderBook, type OrderRow } from "./order-book.ts"
import type { OrderRelay, RelayedOrders } from "./order-relay.ts"
import { RemovedNodes } from "./removed-nodes.ts"
import type { FleetParts } from "./parts.ts"
import type { AgentSession, HelloFrame, WorkFrame } from "./session.ts"
import type { RegistryListener } from "./session-registry.ts"

interface Sessions {
  find(nodeId: string): AgentSession | undefined
}

export class SessionExecutor implements Executor, RegistryListener, RelayedOrders {
  readonly #parts: FleetParts
  readonly #sessions: Sessions
  /** Left out where there is no other server. */
  readonly #relay: OrderRelay | undefined
  readonly #orders: OrderBook
  readonly #acknowledgements: Acknowledgements
  readonly #live: LiveReports
  readonly #removed: RemovedNodes
  #listener: ((report: ExecutorReport) => void) | undefined

  constructor(parts: FleetParts, sessions: Sessions, relay?: OrderRelay) {
    this.#parts = parts
    this.#sessions = sessions
    this.#relay = relay
    relay?.listen(this)
    this.#orders = new OrderBook((row) => relay?.over(row))
    this.#acknowledgements = new Acknowledgements((nodeId) => sessions.find(nodeId))
    this.#live = new LiveReports((report) => this.#listener?.(report))
    this.#removed = new RemovedNodes({
      sql: parts.database,
      onRemoved: ({ type, nodeId, key }) => {
        this.#orders.finished(nodeId, key, type === "start" ? "task" : "rollback")
        this.#forward({ type: "vanished", nodeId, key })
      },
      onError: (error) => parts.logger.warn({ err: error }, "looking for removed nodes failed"),
    })
  }

  dispatch(orders: readonly ExecutorOrder[]): void {
    const now = this.#parts.clock.now()
    const away: ExecutorOrder[] = []
    for (const order of orders) {
      const startBefore = order.type === "kill" ? undefined : order.startBefore
      if (startBefore !== undefined && startBefore <= now) continue
      if (!this.#orders.add(order, now)) {
        this.#parts.logger.warn({ nodeId: order.nodeId, key: order.key }, "dropped an order: the node has too many")
        continue
      }
      const session = this.#sessions.find(order.nodeId)
      if (session) this.#give(session, order)
      else away.push(order)
      if (!session && order.type !== "kill" && startBefore !== undefined) this.#removed.check(order)
    }
    if (away.length > 0) this.#relay?.send(away)
  }

  forget(executionId: string): void {
    this.#orders.forget(executionId)
    this.#relay?.forget(executionId)
  }

  /** Sessions are still open. */
  stop(): void {
    this.#acknowledgements.flushSome(Infinity)
    this.#removed.stop()
  }

  #give(session: AgentSession, order: ExecutorOrder): void {
    this.#acknowledgements.flush(order.nodeId)
    session.send(toFrame(order))
  }

  acknowledge(reports: ReadonlyArray<{ nodeId: string; key: string; phase: "task" | "rollback" }>): void {
    for (const report of reports) {
      if (this.#sessions.find(report.nodeId)) this.#acknowledgements.add(report)
      else this.#relay?.acknowledge(report)
    }
  }

  hasSession(nodeId: string): boolean {
    return this.#sessions.find(nodeId) !== undefined
  }

  acknowledged(one: Acknowledged): void {
    if (this.#sessions.find(one.nodeId)) this.#acknowledgements.add(one)
  }

  carry(order: ExecutorOrder, row: OrderRow): boolean {
    const session = this.#sessions.find(order.nodeId)
    if (!session || !this.#orders.add(order, this.#parts.clock.now(), row)) return false
    this.#give(session, order)
    return true
  }

  handOver(order: ExecutorOrder): void {
    this.#orders.handOver(order)
  }

  answer(nodeId: string, answer: StepAnswer): void {
    const { reply, secrets, ...rest } = answer
    const more = { ...(reply && { reply: { ...reply } }), ...(secrets && { secrets: { ...secrets } }) }
    this.#sessions.find(nodeId)?.send({ type: "step-result", ...rest, ...more })
  }

  listen(listener: (report: ExecutorReport) => void): void {
    assert(this.#listener === undefined, "the executor has one listener")
    this.#listener = listener
  }

  /** What the agent's journal holds it need not be told again; the engine hears of it, since it may have forgotten. */
  opened(session: AgentSession, hello: HelloFrame): void {
    const { nodeId } = session.identity
    for (const { key, phase, state } of hello.open) {
      this.#orders.accepted(nodeId, key, phase)
      if (state === "finished") continue
      this.#forward({ type: state === "running" ? "started" : "accepted", nodeId, key, phase })
    }
    for (const order of this.#orders.unconfirmed(nodeId, this.#parts.clock.now())) session.send(toFrame(order))
    this.#relay?.look()
  }

  /** Orders stay: the node may come back, here or elsewhere. */
  closed(session: AgentSession): void {
    const { nodeId } = session.identity
    this.#acknowledgements.forget(nodeId)
    const unconfirmed = this.#orders.withoutRow(nodeId, this.#parts.clock.now())
    if (unconfirmed.length > 0) this.#relay?.send(unconfirmed)
  }

  work(session: AgentSession, frame: WorkFrame): void {
    const { nodeId } = session.identity
    switch (frame.type) {
      case "accepted":
      case "started":
        this.#orders.accepted(nodeId, frame.key, frame.phase)
        return this.#forward({ type: frame.type, nodeId, key: frame.key, phase: frame.phase })
      case "progress":
      case "output":
        return this.#live.add(toLiveReport(nodeId, frame))
      case "task-finished":
        this.#orders.finished(nodeId, frame.key, "task")
        this.#live.flushAttempt(nodeId, frame.key)
        if (this.#acknowledgements.answersRepeat(nodeId, frame.key, "task")) return undefined
        return this.#forward({ type: frame.type, nodeId, key: frame.key, outcome: frame.outcome })
      case "rollback-finished":
        this.#orders.finished(nodeId, frame.key, "rollback")
        this.#live.flushAttempt(nodeId, frame.key)
        if (this.#acknowledgements.answersRepeat(nodeId, frame.key, "rollback")) return undefined
        return this.#forward({ type: frame.type, nodeId, key: frame.key, outcome: frame.outcome })
      case "step-request": {
        const { key, phase, step, values } = frame
        return this.#forward({ type: frame.type, nodeId, key, phase, step, try: frame.try, values })
      }
      case "heartbeat":
        // It is answered, and so wakes the node's network anyway.
        return this.#acknowledgements.flush(nodeId)
      case "inventory":
      case "probe-finished":
      case "metrics":
        return undefined
    }
  }

  flushLive(): void {
    this.#live.flush()
  }

  flushAcknowledgements(): void {
    this.#acknowledgements.flushSome(acknowledgementLimits.nodesPerTick)
  }

  expire(): void {
    this.#orders.expire(this.#parts.clock.now())
  }

  #forward(report: ExecutorReport): void {
    this.#listener?.(report)
  }
}

function toFrame(order: ExecutorOrder): ServerFrame {
  switch (order.type) {
    case "start":
      return {
        type: "start",
        key: order.key,
        startBefore: toInstant(order.startBefore),
        order: order.order,
        ...(order.secrets && { secrets: { ...order.secrets } }),
      }
    case "rollback":
      return { type: "rollback", key: order.key, ...(order.secrets && { secrets: { ...order.secrets } }) }
    case "kill":
      return { type: "kill", key: order.key, reason: order.reason.slice(0, 500) }
  }
}

type LiveFrame = Extract<WorkFrame, { type: "progress" | "output" }>

function toLiveReport(nodeId: string, frame: LiveFrame): Extract<ExecutorReport, { type: LiveFrame["type"] }> {
  if (frame.type === "output") {
    const { type, key, step, stream, text } = frame
    return { type, nodeId, key, step, stream, text }
  }
  const { type, key, step, stepsCount, name, percent, message } = frame
  return {
    type,
    nodeId,
    key,
    step,
    stepsCount,
    name,
    ...(percent === undefined ? {} : { percent }),
    ...(message === undefined ? {} : { message }),
  }
}
