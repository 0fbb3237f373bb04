/**
 * Writes what agents report of their machines. Owns the inventories that wait to be written: few at a time, bounded in
 * bytes. What does not fit is dropped and asked for again when there is room.
 */
import { createHash } from "node:crypto"
import type { Inventory } from "@signalbox/contracts/fleet/inventory"
import { findEarlierPackages, writePackageChanges } from "./package-change-store.ts"
import { findPackageChanges } from "./package-changes.ts"
import { appendNodeEvents, type FleetParts } from "./parts.ts"
import type { AgentSession } from "./session.ts"
import { confirmInventory, writeInventory, type StoredInventory } from "./session-store.ts"

export const inventoryLimits = {
  writesMax: 2,
  waitingBytesMax: 64 * 1024 * 1024,
  /** Sessions asked again in one go when there is room. */
  askedAgainMax: 20,
} as const

interface Waiting {
  readonly session: AgentSession
  readonly inventory: Inventory
  readonly text: string
}

export class InventoryRecorder {
  readonly #parts: FleetParts
  /** By node: a newer inventory takes the place of one that still waits. */
  readonly #waiting = new Map<string, Waiting>()
  readonly #deferred = new Map<string, AgentSession>()
  #waitingBytes = 0
  readonly #running = new Set<Promise<void>>()

  constructor(parts: FleetParts) {
    this.#parts = parts
  }

  record(session: AgentSession, inventory: Inventory): void {
    const { nodeId } = session.identity
    const text = toStorableJson(inventory)
    this.#remove(nodeId)
    if (this.#waitingBytes + text.length > inventoryLimits.waitingBytesMax) {
      this.#deferred.set(nodeId, session)
      return
    }
    this.#waiting.set(nodeId, { session, inventory, text })
    this.#waitingBytes += text.length
    this.#next()
  }

  /** Resolves when everything that was accepted is written or has failed. */
  async drain(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  #remove(nodeId: string): void {
    const waiting = this.#waiting.get(nodeId)
    if (!waiting) return
    this.#waiting.delete(nodeId)
    this.#waitingBytes -= waiting.text.length
  }

  #next(): void {
    while (this.#running.size < inventoryLimits.writesMax) {
      const [first] = this.#waiting.values()
      if (!first) return this.#askAgain()
      this.#remove(first.session.identity.nodeId)
      const running = this.#write(first)
        .catch((error: unknown) => this.#failed(first.session, error))
        .finally(() => {
          this.#running.delete(running)
          this.#next()
        })
      this.#running.add(running)
    }
  }

  #askAgain(): void {
    for (const [nodeId, session] of [...this.#deferred].slice(0, inventoryLimits.askedAgainMax)) {
      this.#deferred.delete(nodeId)
      session.send({ type: "collect-inventory" })
    }
  }

  #failed(session: AgentSession, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error)
    this.#parts.logger.warn({ nodeId: session.identity.nodeId, reason }, "an inventory could not be written")
  }

  async #write({ session, inventory, text }: Waiting): Promise<void> {
    const { account, nodeId, cause } = session.identity
    const stored: StoredInventory = {
      account,
      nodeId,
      text,
      digest: createHash("sha256").update(text).digest("hex"),
      collectedAt: this.#parts.clock.now(),
    }
    const summary = {
      os: storable(inventory.os.name),
      architecture: storable(inventory.os.architecture),
      packagesInstalled: inventory.packages.length,
      packagesPending: inventory.pending.length,
    }
    await this.#parts.database.transaction(async (tx) => {
      if (await confirmInventory(tx, stored)) return
      const earlier = await findEarlierPackages(tx, account, nodeId)
      const node = await writeInventory(tx, stored, summary)
      if (!node) return
      if (earlier) {
        const rows = findPackageChanges(earlier, JSON.parse(text) as Inventory)
        const seen = { seenAt: stored.collectedAt, seenAfter: earlier.collectedAt }
        await writePackageChanges(tx, { account, nodeId, ...seen, rows })
      }
      const data = { name: node.name, digest: stored.digest, ...summary }
      const type = "node.inventory-changed" as const
      await appendNodeEvents(this.#parts, tx, [{ account, nodeId, type, version: node.version, cause, data }])
    })
  }
}

/** Members come in the order of the schema, so the same inventory is the same text. */
function toStorableJson(inventory: Inventory): string {
  return JSON.stringify(inventory, (_, value: unknown) => (typeof value === "string" ? storable(value) : value))
}

/** PostgreSQL stores neither zero bytes nor half surrogate pairs; a machine's own words may hold anything. */
const storable = (text: string) => text.replaceAll("\0", "\u{FFFD}").toWellFormed()
