import type { AnyOperation } from "@signalbox/contracts/operation"
import type { MapDocument, mergePolicies } from "@signalbox/contracts/routing/map-document"
import { AppError } from "@signalbox/kernel/app-error"
import type { Handler } from "./handler.ts"
import { makeOutsideRules, type OutsideRules } from "./outside-rules.ts"

/**
 * The routing map as one immutable value: a call keeps the map it began with while a newer one takes its place (R2).
 */
export interface RoutingMap {
  readonly version: number
  /** The handler of each routed operation; an operation whose row names no service has none. */
  readonly handlers: ReadonlyMap<string, Handler>
  /** Operations that don't simply go to their handler in this process. */
  readonly remote: ReadonlyMap<string, RemoteRoute>
  /** Operations about which another rules service is asked than the built-in one, or none. */
  readonly rules: ReadonlyMap<string, "none" | Destination>
  /** The same of operations of services outside; left out where the map says nothing of them. */
  readonly outsideRules?: OutsideRules<Destination>
  /** Services that have moved as a whole to another server of this database: their background work is there too. */
  readonly elsewhere: ReadonlySet<string>
}

export type MergePolicy = (typeof mergePolicies)[number]

/** Another process that serves operations. */
export interface Destination {
  readonly name: string
  readonly url: string
  readonly ca?: string
  /** Another installation, with a database of its own. */
  readonly hasOwnState?: boolean
  /** The service account in whose name what it asks for as a rules service is performed. */
  readonly actsAs?: string
}

/** Where an operation goes when it leaves this process: to one place, or to several whose replies are merged. */
export interface RemoteRoute {
  /** Undefined stands for this process. */
  readonly targets: ReadonlyArray<Destination | undefined>
  readonly merge?: MergePolicy
}

export interface RouteRow {
  readonly operation: string
  readonly services: readonly string[]
  readonly merge?: MergePolicy | undefined
  readonly rules?: string | undefined
}

/** What a map is made of beside its document. */
export interface MapSurroundings {
  readonly handlers: readonly Handler[]
  /** What this server itself is called as a destination: rows that name it lead here. */
  readonly destination?: string | undefined
}

/** Operations without which a broken map could not be repaired. */
export const protectedOperations: readonly string[] = [
  "routes.list",
  "routes.put",
  "routes.apply",
  "routes.reset",
  "routes.rollback",
  "routes.versions",
  "auth.whoami",
  "operations.list",
]

export const emptyDocument: MapDocument = { destinations: {}, services: {}, routes: {} }

/** Streams, sessions and contents that are no JSON are served where they are asked for. */
const isMovable = ({ effect, rawOutput, name }: AnyOperation): boolean =>
  (effect === "read" || effect === "change") && rawOutput === undefined && !protectedOperations.includes(name)

/** The row of an operation in a map: its own, its service's, or the built-in one. */
export function rowOf(document: MapDocument, operation: AnyOperation): RouteRow {
  const own = Object.hasOwn(document.routes, operation.name) ? document.routes[operation.name] : undefined
  const moved = Object.hasOwn(document.services, operation.service) ? document.services[operation.service] : undefined
  const place = moved !== undefined && isMovable(operation) ? `@${moved}` : ""
  return { operation: operation.name, ...own, services: own?.services ?? [`${operation.service}${place}`] }
}

/**
 * Makes a map of its document, or refuses it whole: a half-loaded map would send calls astray. What it says of
 * operations that this program doesn't have is passed over: another server may be newer, and it harms nobody.
 *
 * @throws routing.invalid-map
 */
export function makeRoutingMap(version: number, document: MapDocument, around: MapSurroundings): RoutingMap {
  checkDestinations(document)
  const handlers = new Map<string, Handler>()
  const remote = new Map<string, RemoteRoute>()
  const rules = new Map<string, "none" | Destination>()
  for (const handler of around.handlers) {
    const { operation } = handler
    const row = rowOf(document, operation)
    checkRow(document, row, operation)
    if (row.services.length === 0) continue
    handlers.set(operation.name, handler)
    if (row.rules !== undefined) rules.set(operation.name, destinationOf(document, row.rules) ?? "none")
    const targets = row.services.map((entry) => targetOf(document, entry, around.destination))
    if (targets.length > 1 || targets[0] !== undefined)
      remote.set(operation.name, { targets, ...(row.merge ? { merge: row.merge } : {}) })
  }
  const moved = Object.entries(document.services).filter(
    ([, place]) => place !== around.destination && document.destinations[place]?.state !== "own",
  )
  const outsideRules = makeOutsideRules(document, (name) => destinationOf(document, name))
  return {
    ...{ version, handlers, remote, rules, elsewhere: new Set(moved.map(([service]) => service)) },
    ...(outsideRules && { outsideRules }),
  }
}

/** `approvals@east`: service and place. */
export function splitTarget(entry: string): { readonly service: string; readonly place?: string } {
  const at = entry.indexOf("@")
  return at === -1 ? { service: entry } : { service: entry.slice(0, at), place: entry.slice(at + 1) }
}

function targetOf(document: MapDocument, entry: string, here: string | undefined): Destination | undefined {
  const { place } = splitTarget(entry)
  return place === undefined || place === here ? undefined : destinationOf(document, place)
}

function destinationOf(document: MapDocument, name: string): Destination | undefined {
  const found = Object.hasOwn(document.destinations, name) ? document.destinations[name] : undefined
  if (!found) return undefined
  const { url, ca, state, actsAs } = found
  return {
    name,
    url,
    hasOwnState: state === "own",
    ...(ca !== undefined && { ca }),
    ...(actsAs !== undefined && { actsAs }),
  }
}

function checkDestinations(document: MapDocument): void {
  if (Object.hasOwn(document.destinations, "none")) throw invalid('no destination can be called "none"')
  const byUrl = new Map<string, string>()
  for (const [name, { url }] of Object.entries(document.destinations)) {
    const { origin } = new URL(url)
    const other = byUrl.get(origin)
    if (other !== undefined) throw invalid(`the destinations "${other}" and "${name}" are both ${origin}`)
    byUrl.set(origin, name)
  }
  for (const [service, place] of Object.entries(document.services)) {
    if (service === "routing") throw invalid(`the map moves "routing", which every server has itself`)
    if (!Object.hasOwn(document.destinations, place))
      throw invalid(`the map moves "${service}" to "${place}", which is none of its destinations`)
  }
}

function checkRow(document: MapDocument, row: RouteRow, operation: AnyOperation): void {
  const { name } = operation
  if (protectedOperations.includes(name) && (row.services.length !== 1 || row.services[0] !== operation.service))
    throw invalid(`the map takes "${name}" away, without which it can't be repaired`)
  if (new Set(row.services).size !== row.services.length)
    throw invalid(`the map sends "${name}" twice to the same place`)
  for (const entry of row.services) {
    const { service, place } = splitTarget(entry)
    if (service !== operation.service)
      throw invalid(`the map sends "${name}" to "${entry}", but only "${operation.service}" offers it`)
    if (place === undefined) continue
    if (!Object.hasOwn(document.destinations, place))
      throw invalid(`the map sends "${name}" to "${entry}", but has no destination "${place}"`)
    if (!isMovable(operation))
      throw invalid(`"${name}" can't be moved: streams, sessions and raw contents are served where they are asked for`)
  }
  checkMerge(document, row, operation)
  if (row.rules !== undefined && row.rules !== "none" && !Object.hasOwn(document.destinations, row.rules))
    throw invalid(`"${name}" asks the rules service "${row.rules}", which is none of the destinations`)
}

/**
 * Places that share their state say the same, so any of them may answer first, and a change is made once. Places with
 * state of their own each say and do something else: all are asked, and what they say is joined.
 */
function checkMerge(document: MapDocument, row: RouteRow, { name, effect }: AnyOperation): void {
  const { services, merge } = row
  if (services.length < 2) {
    if (merge !== undefined) throw invalid(`"${name}" goes to one place, so there is nothing to merge`)
    return
  }
  if (merge === undefined) throw invalid(`"${name}" goes to several places: say how to merge (all, first, best-effort)`)
  const sharing = services.filter((entry) => {
    const { place } = splitTarget(entry)
    return place === undefined || document.destinations[place]?.state !== "own"
  })
  if (merge === "first") {
    if (effect !== "read") throw invalid(`"${name}" changes something, so "first" would leave open where`)
    if (sharing.length < services.length)
      throw invalid(`"first" is for places that share their state, and those of "${name}" say different things`)
  } else if (sharing.length > 1)
    throw invalid(`${sharing.join(" and ")} share their state, so "${merge}" would do the same twice`)
}

const invalid = (message: string): AppError => new AppError("routing.invalid-map", message)
