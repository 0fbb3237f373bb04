import type { AnyOperation } from "@signalbox/contracts/operation"
import { operationsList, routesList, routesPut, routesReset } from "@signalbox/contracts/routing/operations"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { onChange, onRead, type ChangeContext, type Handler, type Service } from "../../router/handler.ts"
import { builtInRows, makeRoutingMap, protectedOperations } from "../../router/routing-map.ts"
import { installationAccount, raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Database } from "../../storage/database.ts"
import { createRoutingTable, routesComponent, type RoutingTable } from "./routing-table.ts"
import {
  addMissingRoutes,
  deleteRoutes,
  listRoutes,
  lockRoutes,
  putRoute,
  readRoutes,
  type StoredRoute,
} from "./store.ts"

export interface RoutingOptions {
  readonly database: Database
  readonly operations: ReadonlyMap<string, AnyOperation>
  readonly handlers: () => readonly Handler[]
  readonly configurationChanged: () => void | Promise<void>
  readonly onRefused: (version: number, message: string) => void
}

const mapSubject = "routing-map"

/** The routing map: which sub-service an operation goes to, changed while the server runs. */
export function createRoutingService(options: RoutingOptions): { service: Service; table: RoutingTable } {
  const table = createRoutingTable({ sql: options.database, handlers: options.handlers, onRefused: options.onRefused })
  return { service: { name: "routing", handlers: routingHandlers(options, table) }, table }
}

function routingHandlers(options: RoutingOptions, table: RoutingTable): Handler[] {
  return [
    onRead(operationsList, () => Promise.resolve({ items: [...options.operations.values()].map(describe) })),
    onRead(routesList, async (input, { sql }) => {
      const [after = ""] = input.cursor ? decodeCursor(input.cursor, 1) : []
      const rows = await listRoutes(sql, String(after), input.limit + 1)
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      const refused = table.refused()
      return {
        items: shown.map(toRoute),
        version: table.current().version,
        ...(refused ? { refused } : {}),
        ...(rows.length > input.limit && last ? { nextCursor: encodeCursor([last.operation]) } : {}),
      }
    }),
    onChange(routesPut, async (input, ctx) => {
      if (!options.operations.has(input.operation)) {
        throw new AppError("routing.unknown-operation", `there is no operation "${input.operation}"`)
      }
      if (input.services.length === 0 && protectedOperations.includes(input.operation)) {
        throw new AppError("routing.protected-route", `"${input.operation}" must stay in the map`)
      }
      await lockRoutes(ctx.tx)
      const row = await putRoute(ctx.tx, input, ctx.caller.principal)
      makeRoutingMap(0, await readRoutes(ctx.tx), options.handlers())
      await mapChanged(options, ctx, { operation: input.operation, services: input.services })
      return toRoute(row)
    }),
    onChange(routesReset, async (_input, ctx) => {
      await lockRoutes(ctx.tx)
      await deleteRoutes(ctx.tx)
      const rows = await addMissingRoutes(ctx.tx, builtInRows([...options.operations.values()]), ctx.caller.principal)
      await mapChanged(options, ctx, { reset: true })
      return { rows }
    }),
  ]
}

async function mapChanged(options: RoutingOptions, ctx: ChangeContext, data: Record<string, unknown>): Promise<void> {
  const version = await raiseConfigurationVersion(ctx.tx, installationAccount, routesComponent)
  ctx.emit({ aggregate: mapSubject, type: "routing-map.changed", subject: mapSubject, version, data })
  ctx.afterCommit(options.configurationChanged)
}

/** Gives operations that this program version brought their rows; rows that were edited stay as they are. */
export async function addBuiltInRoutes(
  database: Database,
  operations: ReadonlyMap<string, AnyOperation>,
): Promise<void> {
  await database.transaction(async (tx) => {
    await lockRoutes(tx)
    const added = await addMissingRoutes(tx, builtInRows([...operations.values()]), "system:routing")
    if (added > 0) await raiseConfigurationVersion(tx, installationAccount, routesComponent)
  })
}

function describe(operation: AnyOperation) {
  const { name, service, summary, method, path, effect, permission } = operation
  return { name, service, summary, method, path, effect, permission }
}

function toRoute(row: StoredRoute) {
  return {
    operation: row.operation,
    services: [...row.services],
    changedAt: toInstant(row.changed_at),
    changedBy: row.changed_by,
  }
}
