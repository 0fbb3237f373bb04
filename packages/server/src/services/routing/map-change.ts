import type { ExternalServices } from "../../router/external-ports.ts"
import type { AnyOperation } from "@signalbox/contracts/operation"
import { mapDocument, type MapDocument } from "@signalbox/contracts/routing/map-document"
import { AppError } from "@signalbox/kernel/app-error"
import { findNearNames } from "@signalbox/kernel/near-names"
import type { ChangeContext, Handler } from "../../router/handler.ts"
import { isOutsideRow } from "../../router/outside-rules.ts"
import { emptyDocument, makeRoutingMap, protectedOperations, rowOf, splitTarget } from "../../router/routing-map.ts"
import { installationAccount, raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import { differencesOf, type MapDifference } from "./map-difference.ts"
import { findMap, insertMap, lockMap, type Stamps, type StoredMap } from "./store.ts"

/**
 * The one way in which the map changes: under the lock of its versions the new document is checked as a whole and
 * becomes the next version, with an event that says what differs. What changes nothing makes no version.
 */
export interface MapChangeOptions {
  readonly operations: ReadonlyMap<string, AnyOperation>
  /** Operations of services outside, of one account. */
  readonly external?: Pick<ExternalServices, "list">
  readonly handlers: () => readonly Handler[]
  readonly configurationChanged: () => void | Promise<void>
  /** Where this server itself answers, and what it is called where it is a destination. */
  readonly here: { readonly urls: readonly string[]; readonly destination?: string | undefined }
}

export const routesComponent = "routing.map"
const mapSubject = "routing-map"

export interface MapChange {
  readonly operation: string
  readonly comment?: string | undefined
  readonly expectedVersion?: number | undefined
  readonly dryRun?: boolean
  /** Makes the new document of the present one, or refuses. */
  readonly edit: (present: MapDocument) => MapDocument | Promise<MapDocument>
}

export interface ChangedMap {
  readonly map: StoredMap
  readonly changed: boolean
  readonly differences: readonly MapDifference[]
}

/** @throws routing.map-changed, routing.invalid-map, routing.protected-route, and what the edit throws */
export async function changeMap(options: MapChangeOptions, ctx: ChangeContext, change: MapChange): Promise<ChangedMap> {
  await lockMap(ctx.tx)
  const present = (await findMap(ctx.tx)) ?? noMap
  if (change.expectedVersion !== undefined && change.expectedVersion !== present.version)
    throw new AppError(
      "routing.map-changed",
      `the routing map has version ${present.version} by now, not ${change.expectedVersion}`,
      { details: { version: present.version } },
    )
  const document = withoutBuiltIn(options, await change.edit(present.document))
  checkMap(options, document)
  const differences = differencesOf(present.document, document)
  if (differences.length === 0) return { map: present, changed: false, differences }
  const map = { version: present.version + 1, document, stamps: stampsOf(present, { document, differences, ctx }) }
  if (change.dryRun === true) return { map: present, changed: true, differences }
  const { operation, comment } = change
  await insertMap(ctx.tx, { ...map, operation, comment, changedBy: ctx.caller.principal, requestId: ctx.requestId })
  await raiseConfigurationVersion(ctx.tx, installationAccount, routesComponent)
  ctx.emit({
    aggregate: mapSubject,
    type: "routing-map.changed",
    subject: mapSubject,
    version: map.version,
    data: { operation, ...(comment === undefined ? {} : { comment }), differences },
  })
  ctx.afterCommit(options.configurationChanged)
  return { map, changed: true, differences }
}

const noMap: StoredMap = { version: 0, document: emptyDocument, stamps: {} }

/** Whoever sets a row to what it is without an entry takes the entry out. */
function withoutBuiltIn({ operations }: MapChangeOptions, document: MapDocument): MapDocument {
  const routes = Object.entries(document.routes).filter(([name, entry]) => {
    const operation = operations.get(name)
    if (!operation) return !isOutsideRow(name) || Object.values(entry).some((value) => value !== undefined)
    const without = rowOf({ ...document, routes: {} }, operation)
    const written = { ...entry, services: entry.services ?? [...without.services] }
    return differencesOf(...both(name, { services: [...without.services] }, written)).length > 0
  })
  return { ...document, routes: Object.fromEntries(routes) }
}

type Route = MapDocument["routes"][string]

const both = (name: string, one: Route, two: Route): [MapDocument, MapDocument] => [
  { ...emptyDocument, routes: { [name]: one } },
  { ...emptyDocument, routes: { [name]: two } },
]

function stampsOf(
  present: StoredMap,
  next: { readonly document: MapDocument; readonly differences: readonly MapDifference[]; readonly ctx: ChangeContext },
): Stamps {
  const stamp = { by: next.ctx.caller.principal, at: next.ctx.now }
  const changed = next.differences.filter(({ after }) => after !== undefined).map(({ place }) => [place, stamp])
  const gone = new Set(next.differences.filter(({ after }) => after === undefined).map(({ place }) => place))
  const kept = Object.entries(present.stamps).filter(([place]) => !gone.has(place))
  return Object.fromEntries([...kept, ...changed]) as Stamps
}

/** @throws routing.protected-route, routing.invalid-map */
function checkMap(options: MapChangeOptions, document: MapDocument): void {
  const taken = protectedOperations.find((name) => Object.hasOwn(document.routes, name))
  if (taken !== undefined) throw new AppError("routing.protected-route", `"${taken}" must stay where it is`)
  mapDocument.parse(document)
  makeRoutingMap(0, document, { handlers: options.handlers(), destination: options.here.destination })
  const { urls, destination: own } = options.here
  const origins = new Set(urls.map((url) => new URL(url).origin))
  for (const [name, { url }] of Object.entries(document.destinations)) {
    if (name !== own && origins.has(new URL(url).origin))
      throw new AppError(
        "routing.invalid-map",
        `the destination "${name}" is this server itself: calls would go in a circle`,
      )
  }
}

/**
 * Refuses a document that names what this program doesn't have.
 *
 * @throws routing.unknown-operation with near names, routing.invalid-map
 */
export function refuseUnknown(operations: ReadonlyMap<string, AnyOperation>, document: MapDocument): void {
  for (const name of Object.keys(document.routes)) {
    if (!operations.has(name) && !isOutsideRow(name)) throw unknownOperation(operations, name)
  }
  const services = new Set([...operations.values()].map(({ service }) => service as string))
  const entries = Object.values(document.routes).flatMap((route) =>
    (route.services ?? []).map((entry) => splitTarget(entry)),
  )
  for (const service of [...Object.keys(document.services), ...entries.map((entry) => entry.service)]) {
    if (services.has(service)) continue
    const near = findNearNames(service, services)
    const hint = near.length > 0 ? `; did you mean ${near.join(", ")}?` : ""
    throw new AppError("routing.invalid-map", `"${service}" is no sub-service${hint}`, { details: { near } })
  }
}

/** A document without what this program doesn't have, and what that was. */
export function withoutUnknown(
  operations: ReadonlyMap<string, AnyOperation>,
  document: MapDocument,
): { readonly document: MapDocument; readonly leftOut: readonly string[] } {
  const services = new Set([...operations.values()].map(({ service }) => service as string))
  const known = (name: string): boolean => operations.has(name) || isOutsideRow(name)
  return {
    document: {
      ...document,
      routes: Object.fromEntries(Object.entries(document.routes).filter(([name]) => known(name))),
      services: Object.fromEntries(Object.entries(document.services).filter(([name]) => services.has(name))),
    },
    leftOut: [
      ...Object.keys(document.services)
        .filter((name) => !services.has(name))
        .map((name) => `services.${name}`),
      ...Object.keys(document.routes)
        .filter((name) => !known(name))
        .map((name) => `routes.${name}`),
    ],
  }
}

export function unknownOperation(operations: ReadonlyMap<string, AnyOperation>, name: string): AppError {
  const near = findNearNames(name, operations.keys())
  const hint = near.length > 0 ? `; did you mean ${near.join(", ")}?` : ""
  return new AppError("routing.unknown-operation", `there is no operation "${name.slice(0, 128)}"${hint}`, {
    details: { near },
  })
}
