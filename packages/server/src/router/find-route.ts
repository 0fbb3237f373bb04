import type { AnyOperation } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { findNearNames } from "@signalbox/kernel/near-names"
import type { Routed } from "./routed.ts"
import type { RoutingMap } from "./routing-map.ts"

/** Where the map sends an operation. @throws routing.no-route, routing.unknown-operation with near names */
export function findRoute(
  map: RoutingMap,
  operations: ReadonlyMap<string, AnyOperation>,
  name: string,
): Pick<Routed, "handler" | "remote"> {
  const handler = map.handlers.get(name)
  const remote = map.remote.get(name)
  if (handler) return remote ? { handler, remote } : { handler }
  if (operations.has(name)) throw new AppError("routing.no-route", `the routing map has no service for "${name}"`)
  const near = findNearNames(name, operations.keys())
  const hint = near.length > 0 ? `; did you mean ${near.join(", ")}?` : ""
  throw new AppError("routing.unknown-operation", `there is no operation "${name.slice(0, 128)}"${hint}`, {
    details: { near },
  })
}
