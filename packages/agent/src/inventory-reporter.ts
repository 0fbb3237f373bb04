import { createHash } from "node:crypto"
import { agentLimits, type AgentFrame } from "@signalbox/contracts/fleet/agent-protocol"
import type { Inventory } from "@signalbox/contracts/fleet/inventory"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import type { AgentRunLimits } from "./agent-limits.ts"
import { type AgentLogger, errorText } from "./agent-logger.ts"
import { collectInventory } from "./inventory.ts"
import type { PolicyState } from "./policy-file.ts"
import type { PackageCache } from "./package-lists.ts"

export interface InventoryReporterOptions {
  readonly root: string
  readonly limits: AgentRunLimits
  readonly logger: AgentLogger
  readonly policy: () => Promise<PolicyState>
  readonly send: (frame: AgentFrame) => boolean
  /** True once the server's socket has what was sent. */
  readonly flush: () => Promise<boolean>
}

/**
 * Collects the inventory at start, soon after tasks, every few hours and on request, one collection at a time, and sends
 * it when it differs from the one that reached the server last (free disk space alone is no difference).
 */
export class InventoryReporter {
  readonly #options: InventoryReporterOptions
  #inventory: Inventory | undefined
  #delivered: string | undefined
  readonly #cache: PackageCache = {}
  #collecting = false
  #again = false
  #forced = false
  #stopped = false
  #timer: NodeJS.Timeout | undefined
  #soon: NodeJS.Timeout | undefined

  constructor(options: InventoryReporterOptions) {
    this.#options = options
  }

  start(): void {
    this.#timer = setInterval(() => this.#begin(), this.#options.limits.inventoryIntervalMilliseconds)
    this.#begin()
  }

  stop(): void {
    this.#stopped = true
    clearInterval(this.#timer)
    clearTimeout(this.#soon)
  }

  onSession(): void {
    this.#deliver().catch(() => undefined)
  }

  /** Asked for by the server: sent whether or not it changed. */
  collectNow(): void {
    this.#forced = true
    this.#begin()
  }

  /** After a task: once for all that end within a moment, and not beside what comes next. */
  collectSoon(): void {
    if (this.#stopped) return
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined
      this.#begin()
    }, this.#options.limits.inventoryDelayMilliseconds)
  }

  #begin(): void {
    if (this.#collecting) this.#again = true
    if (this.#collecting || this.#stopped) return
    this.#collecting = true
    void this.#collect()
  }

  async #collect(): Promise<void> {
    try {
      do {
        this.#again = false
        const inventory = await collectInventory({
          root: this.#options.root,
          cache: this.#cache,
          commandMilliseconds: this.#options.limits.inventoryCommandMilliseconds,
        })
        const { state, digest } = await this.#options.policy()
        this.#inventory = { ...inventory, policy: { state, ...(digest !== undefined && { digest }) } }
        await this.#deliver()
      } while (this.#again && !this.#stopped)
    } catch (error) {
      this.#options.logger.error("inventory failed", { error: errorText(error) })
    } finally {
      this.#collecting = false
    }
  }

  async #deliver(): Promise<void> {
    if (!this.#inventory || this.#stopped) return
    const digest = digestOf(this.#inventory)
    if (digest === this.#delivered && !this.#forced) return
    if (!this.#options.send({ type: "inventory", inventory: fitInventory(this.#inventory, inventoryBytesMax) })) return
    this.#forced = false
    if (await this.#options.flush()) this.#delivered = digest
  }
}

function digestOf(inventory: Inventory): string {
  const { diskFreeBytes: _free, ...hardware } = inventory.hardware
  return createHash("sha256")
    .update(canonicalJson({ ...inventory, hardware }))
    .digest("hex")
}

const inventoryBytesMax = agentLimits.frameBytesMax - 64 * 1024

/** An inventory that fits into a frame: of very long lists the end is left out, and said so. */
export function fitInventory(inventory: Inventory, bytesMax: number): Inventory {
  let fitting = inventory
  while (
    Buffer.byteLength(JSON.stringify(fitting)) > bytesMax &&
    fitting.packages.length + fitting.pending.length > 0
  ) {
    const packages = fitting.packages.slice(0, fitting.packages.length >> 1)
    const pending = fitting.pending.slice(0, Math.max(fitting.pending.length >> 1, 0))
    const problems = [`the lists are cut: ${inventory.packages.length} packages do not fit`, ...inventory.problems]
    fitting = { ...fitting, packages, pending, problems: problems.slice(0, 20) }
  }
  return fitting
}
