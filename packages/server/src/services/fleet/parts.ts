import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import type { Database, Tx } from "../../storage/database.ts"
import { appendEvents } from "../../storage/outbox.ts"

/** What the fleet's parts are given. */
export interface FleetParts {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: FleetLogger
}

/** The part of pino's logger that the fleet uses. */
export interface FleetLogger {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

/** An event of a node that no call made: it follows from what a session did. */
export interface NodeEvent {
  readonly account: string
  readonly nodeId: string
  readonly type: "node.connected" | "node.disconnected" | "node.held" | "node.inventory-changed"
  readonly version: number
  /** The request that opened the session. */
  readonly cause: string
  readonly data: Readonly<Record<string, unknown>>
}

/** Writes them in the transaction of the change that they tell of. */
export async function appendNodeEvents(parts: FleetParts, tx: Tx, events: readonly NodeEvent[]): Promise<void> {
  await appendEvents(
    tx,
    events.map((event) => ({
      id: newId("event", parts.clock, parts.random),
      account: event.account,
      aggregateId: event.nodeId,
      type: event.type,
      subject: event.nodeId,
      subjectVersion: event.version,
      cause: event.cause,
      causedBy: event.cause,
      depth: 1,
      principal: "system:fleet",
      data: event.data,
    })),
  )
}
