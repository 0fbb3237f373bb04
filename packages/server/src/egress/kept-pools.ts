/**
 * Connections that stay open for the next call to the same place: by origin, trusted authority and the addresses that were
 * checked for this very call, so that an old connection never leads where a new one would not be allowed to. Bounded; what was used
 * longest ago is closed first.
 */
import { Pool } from "undici"
import { egressLimits } from "./egress-limits.ts"

export class KeptPools {
  readonly #pools = new Map<string, Pool>()

  /** The pool of a place, by all that makes it, made by the options where there is none. */
  use(parts: readonly string[], origin: string, options: Pool.Options): Pool {
    const place = parts.join(" ")
    const pool = this.#pools.get(place) ?? new Pool(origin, { ...options, ...kept })
    this.#pools.delete(place)
    this.#pools.set(place, pool)
    const [oldest] = this.#pools
    if (oldest && this.#pools.size > egressLimits.keptPlacesMax) {
      this.#pools.delete(oldest[0])
      // Resolves when the calls under way have ended.
      oldest[1].close().catch(() => undefined)
    }
    return pool
  }

  async destroy(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.destroy()))
    this.#pools.clear()
  }
}

const kept: Pool.Options = {
  connections: egressLimits.keptConnectionsMax,
  keepAliveTimeout: egressLimits.keptMilliseconds,
  keepAliveMaxTimeout: egressLimits.keptMilliseconds,
  pipelining: 1,
}
