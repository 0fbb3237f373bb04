import type { AnyOperation } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { findNearNames } from "@signalbox/kernel/near-names"
import type { ExternalServices } from "./external-ports.ts"
import { outsideHandler } from "./external-handler.ts"
import type { Routed } from "./routed.ts"
import type { RoutingMap } from "./routing-map.ts"

export interface KnownOperations {
  readonly operations: ReadonlyMap<string, AnyOperation>
  /** Left out, there is nothing outside. */
  readonly external?: ExternalServices
}

export type Route = Pick<Routed, "handler" | "remote" | "outside" | "consults">

/**
 * Where the map sends an operation; one of a service outside goes there.
 *
 * @throws routing.no-route, routing.unknown-operation with near names
 */
export function findRoute(
  map: RoutingMap,
  { operations, external }: KnownOperations,
  { name, account }: { readonly name: string; readonly account: string },
): Route {
  const handler = map.handlers.get(name)
  const remote = map.remote.get(name)
  const consults = map.rules.get(name)
  if (handler && remote === undefined && consults === undefined) return { handler }
  if (handler) return { handler, ...(remote && { remote }), ...(consults && { consults }) }
  if (operations.has(name)) throw new AppError("routing.no-route", `the routing map has no service for "${name}"`)
  const outside = external?.findOperation(account, name)
  if (outside) {
    const asked = map.outsideRules?.find(name)
    return { handler: outsideHandler(outside), outside, ...(asked && { consults: asked }) }
  }
  const known = name.startsWith("ext.") ? (external?.list(account) ?? []).map((each) => each.name) : operations.keys()
  const near = findNearNames(name, known)
  const hint = near.length > 0 ? `; did you mean ${near.join(", ")}?` : ""
  throw new AppError("routing.unknown-operation", `there is no operation "${name.slice(0, 128)}"${hint}`, {
    details: { near },
  })
}
