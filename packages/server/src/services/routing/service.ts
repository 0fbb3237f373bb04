import type { AnyOperation } from "@signalbox/contracts/operation"
import type { CallReceiver, RemoteCaller } from "../../router/forwarded-call.ts"
import type { Service } from "../../router/handler.ts"
import { emptyDocument } from "../../router/routing-map.ts"
import { installationAccount, raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import type { ForeignRules } from "../../router/rule-ports.ts"
import type { Database } from "../../storage/database.ts"
import { routingHandlers } from "./handlers.ts"
import { routesComponent, type MapChangeOptions } from "./map-change.ts"
import { createCallReceiver } from "./call-receiver.ts"
import { createForeignRules } from "./foreign-rules.ts"
import { createRemoteCaller, type RemoteCallerOptions } from "./remote-caller.ts"
import { createRoutingTable, type RoutingTable } from "./routing-table.ts"
import { findMap, insertMap, lockMap } from "./store.ts"

export type { RoutingTable } from "./routing-table.ts"

export interface RoutingOptions extends MapChangeOptions {
  readonly database: Database
  readonly operations: ReadonlyMap<string, AnyOperation>
  readonly onRefused: (version: number, message: string) => void
}

/** The routing map: which sub-service an operation goes to, changed while the server runs. */
export function createRoutingService(options: RoutingOptions): { service: Service; table: RoutingTable } {
  const { database, handlers, onRefused } = options
  const table = createRoutingTable({ sql: database, handlers, onRefused, destination: options.here.destination })
  return { service: { name: "routing", handlers: routingHandlers(options, table) }, table }
}

/** The wire between processes: what sends calls to destinations, and what takes them where this server is one. */
export function createCallWire(
  options: RemoteCallerOptions & {
    readonly database: Database
    readonly destination?: string | undefined
    readonly trustedSigners?: readonly string[] | undefined
  },
): {
  readonly remote: RemoteCaller
  readonly receiver: CallReceiver | undefined
  /** The rules services that the map names. */
  readonly rules: ForeignRules
} {
  const { database, clock, destination, trustedSigners = [] } = options
  return {
    remote: createRemoteCaller(options),
    rules: createForeignRules(options),
    receiver:
      destination === undefined ? undefined : createCallReceiver({ sql: database, clock, destination, trustedSigners }),
  }
}

/** Makes the first version of the map, which says nothing but what the program itself brings. */
export async function makeFirstMap(database: Database): Promise<void> {
  await database.transaction(async (tx) => {
    await lockMap(tx)
    if (await findMap(tx)) return
    await insertMap(tx, {
      ...{ version: 1, document: emptyDocument, stamps: {} },
      operation: "routes.reset",
      changedBy: "system:routing",
      comment: "the map that the program brings",
    })
    await raiseConfigurationVersion(tx, installationAccount, routesComponent)
  })
}
