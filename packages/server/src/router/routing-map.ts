import type { AnyOperation } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import type { Handler } from "./handler.ts"

/**
 * The routing map as one immutable value: a call keeps the map it began with while a newer one takes its place (R2).
 */
export interface RoutingMap {
  readonly version: number
  /** The handler of each routed operation; an operation whose row names no service has none. */
  readonly handlers: ReadonlyMap<string, Handler>
}

export interface RouteRow {
  readonly operation: string
  readonly services: readonly string[]
}

/** Operations without which a broken map could not be repaired. */
export const protectedOperations: readonly string[] = [
  "routes.list",
  "routes.put",
  "routes.reset",
  "auth.whoami",
  "operations.list",
]

/** The map that the program itself brings: each operation goes to its own service. */
export function builtInRows(operations: readonly AnyOperation[]): RouteRow[] {
  return operations.map((operation) => ({ operation: operation.name, services: [operation.service] }))
}

/**
 * Makes a map of its rows, or refuses it whole: a half-loaded map would send calls astray.
 *
 * @throws routing.invalid-map
 */
export function makeRoutingMap(version: number, rows: readonly RouteRow[], handlers: readonly Handler[]): RoutingMap {
  const available = new Map(handlers.map((handler) => [handler.operation.name, handler]))
  const routed = new Map<string, Handler>()
  for (const { operation, services } of rows) {
    const handler = available.get(operation)
    // Another server of the installation may be newer: its operations can't be called here, and harm nobody.
    if (!handler) continue
    for (const service of services) {
      if (service !== handler.operation.service) {
        throw new AppError(
          "routing.invalid-map",
          `the map sends "${operation}" to "${service}", which doesn't offer it`,
        )
      }
    }
    if (services.length > 0) routed.set(operation, handler)
  }
  for (const operation of protectedOperations) {
    if (!routed.has(operation))
      throw new AppError("routing.invalid-map", `the map leaves out "${operation}", without which it can't be repaired`)
  }
  return { version, handlers: routed }
}
