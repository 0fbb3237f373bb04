import { isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { Handler } from "../../router/handler.ts"
import { emptyDocument, makeRoutingMap, type RoutingMap } from "../../router/routing-map.ts"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import type { Sql } from "../../storage/database.ts"
import { routesComponent } from "./map-change.ts"
import { findMap } from "./store.ts"

/**
 * Holds the routing map in force. A version that can't be loaded is refused whole and reported; the last good one
 * stays (R2).
 */
export interface RoutingTable extends ConfigurationListener {
  current(): RoutingMap
  refused(): { readonly version: number; readonly message: string } | undefined
  /** Told of each map that takes the place of another. */
  listen(listener: (map: RoutingMap) => void): void
}

export function createRoutingTable(options: {
  readonly sql: Sql
  /** Asked at each load: the services are made before the table is first loaded, not before it exists. */
  readonly handlers: () => readonly Handler[]
  readonly destination?: string | undefined
  readonly onRefused: (version: number, message: string) => void
}): RoutingTable {
  let map: RoutingMap | undefined
  let refused: { version: number; message: string } | undefined
  const listeners: Array<(map: RoutingMap) => void> = []
  return {
    component: routesComponent,
    async load() {
      const { version, document } = (await findMap(options.sql)) ?? { version: 0, document: emptyDocument }
      const around = { handlers: options.handlers(), destination: options.destination }
      try {
        map = makeRoutingMap(version, document, around)
        refused = undefined
        for (const listener of listeners) listener(map)
      } catch (error) {
        if (!isAppError(error)) throw error
        // A server that starts on a bad map has no last good one but the one it brings itself.
        map ??= makeRoutingMap(0, emptyDocument, around)
        refused = { version, message: error.message }
        options.onRefused(version, error.message)
      }
    },
    current() {
      assert(map !== undefined, "the routing map is loaded before the first call")
      return map
    },
    refused: () => refused,
    listen: (listener) => void listeners.push(listener),
  }
}
