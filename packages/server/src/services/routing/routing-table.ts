import { isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { Handler } from "../../router/handler.ts"
import { builtInRows, makeRoutingMap, type RoutingMap } from "../../router/routing-map.ts"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import type { Sql } from "../../storage/database.ts"
import { readRoutes } from "./store.ts"

/**
 * Holds the routing map in force. A version that can't be loaded is refused whole and reported; the last good one
 * stays (R2).
 */
export interface RoutingTable extends ConfigurationListener {
  current(): RoutingMap
  refused(): { readonly version: number; readonly message: string } | undefined
}

export const routesComponent = "routing.map"

export function createRoutingTable(options: {
  readonly sql: Sql
  /** Asked at each load: the services are made before the table is first loaded, not before it exists. */
  readonly handlers: () => readonly Handler[]
  readonly onRefused: (version: number, message: string) => void
}): RoutingTable {
  let map: RoutingMap | undefined
  let refused: { version: number; message: string } | undefined
  return {
    component: routesComponent,
    async load(_account, version) {
      const rows = await readRoutes(options.sql)
      try {
        map = makeRoutingMap(version, rows, options.handlers())
        refused = undefined
      } catch (error) {
        if (!isAppError(error)) throw error
        const handlers = options.handlers()
        // A server that starts on a bad map has no last good one but the one it brings itself.
        map ??= makeRoutingMap(0, builtInRows(handlers.map((handler) => handler.operation)), handlers)
        refused = { version, message: error.message }
        options.onRefused(version, error.message)
      }
    },
    current() {
      assert(map !== undefined, "the routing map is loaded before the first call")
      return map
    },
    refused: () => refused,
  }
}
