import type { AnyOperation } from "@signalbox/contracts/operation"
import {
  operationsList,
  routesApply,
  routesDiff,
  routesExport,
  routesList,
  routesPut,
  routesReset,
  routesRollback,
  routesVersions,
} from "@signalbox/contracts/routing/operations"
import type { MapDocument } from "@signalbox/contracts/routing/map-document"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { onChange, onRead, type Handler } from "../../router/handler.ts"
import { isOutsideRow } from "../../router/outside-rules.ts"
import { emptyDocument, protectedOperations, rowOf, type RouteRow } from "../../router/routing-map.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Sql } from "../../storage/database.ts"
import {
  changeMap,
  refuseUnknown,
  unknownOperation,
  withoutUnknown,
  type ChangedMap,
  type MapChangeOptions,
} from "./map-change.ts"
import { differencesOf } from "./map-difference.ts"
import type { RoutingTable } from "./routing-table.ts"
import { findMap, listVersions, type StoredMap } from "./store.ts"

export function routingHandlers(options: MapChangeOptions, table: RoutingTable): Handler[] {
  return [...readingHandlers(options, table), ...changingHandlers(options)]
}

function readingHandlers(options: MapChangeOptions, table: RoutingTable): Handler[] {
  return [
    onRead(operationsList, (_input, { account }) => {
      const external = options.external?.list(account).map(({ declaration }) => declaration) ?? []
      return Promise.resolve({ items: [...options.operations.values(), ...external].map(describe) })
    }),
    onRead(routesList, async (input, { sql }) => {
      const [after = ""] = input.cursor ? decodeCursor(input.cursor, 1) : []
      const map = await findMap(sql)
      const outside = Object.keys(map?.document.routes ?? {}).filter(isOutsideRow)
      const rows = [...options.operations.values(), ...outside.map((name) => ({ name }))]
        .filter(({ name }) => name > String(after))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      const refused = table.refused()
      return {
        items: shown.map(({ name }) => showRoute(options.operations, map, name)),
        version: table.current().version,
        ...(refused ? { refused } : {}),
        ...(rows.length > input.limit && last ? { nextCursor: encodeCursor([last.name]) } : {}),
      }
    }),
    onRead(routesVersions, async (input, { sql }) => {
      const [before] = input.cursor ? decodeCursor(input.cursor, 1) : []
      const rows = await listVersions(sql, before === undefined ? undefined : Number(before), input.limit + 1)
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      return {
        items: shown.map(({ version, changedAt, changedBy, operation, comment, requestId }) => ({
          ...{ version, changedBy, operation },
          changedAt: toInstant(changedAt),
          ...(comment === null ? {} : { comment }),
          ...(requestId === null ? {} : { requestId }),
        })),
        ...(rows.length > input.limit && last ? { nextCursor: encodeCursor([last.version]) } : {}),
      }
    }),
    onRead(routesExport, async (input, { sql }) => {
      const { version, document } = await getMap(sql, input.version)
      return { version, document }
    }),
    onRead(routesDiff, async (input, { sql }) => {
      const [from, to] = [await getMap(sql, input.from), await getMap(sql, input.to)]
      const differences = differencesOf(from.document, to.document)
      return { from: from.version, to: to.version, differences }
    }),
  ]
}

function changingHandlers(options: MapChangeOptions): Handler[] {
  const { operations } = options
  return [
    onChange(routesPut, async ({ operation: name, services, merge, rules, ...terms }, ctx) => {
      if (!operations.has(name) && !isOutsideRow(name)) throw unknownOperation(operations, name)
      if (protectedOperations.includes(name))
        throw new AppError("routing.protected-route", `"${name}" must stay where it is`)
      const route = {
        ...(services === undefined ? {} : { services }),
        ...(merge === undefined ? {} : { merge }),
        ...(rules === undefined ? {} : { rules }),
      }
      const edit = (present: MapDocument): MapDocument => {
        refuseUnknown(operations, { ...emptyDocument, routes: { [name]: route } })
        return { ...present, routes: { ...present.routes, [name]: route } }
      }
      const { map } = await changeMap(options, ctx, { ...terms, operation: routesPut.name, edit })
      return { ...showRoute(operations, map, name), version: map.version }
    }),
    onChange(routesApply, async ({ destinations, services, routes, ...terms }, ctx) => {
      const edit = (): MapDocument => {
        const document = { destinations, services, routes }
        refuseUnknown(operations, document)
        return document
      }
      return toOutcome(await changeMap(options, ctx, { ...terms, operation: routesApply.name, edit }))
    }),
    onChange(routesReset, async (terms, ctx) => {
      const edit = (): MapDocument => emptyDocument
      return toOutcome(await changeMap(options, ctx, { ...terms, operation: routesReset.name, edit }))
    }),
    onChange(routesRollback, async ({ to, ...terms }, ctx) => {
      const { document, leftOut } = withoutUnknown(operations, (await getMap(ctx.tx, to)).document)
      const edit = (): MapDocument => document
      const comment = terms.comment ?? `back to version ${to}`
      const changed = await changeMap(options, ctx, { ...terms, comment, operation: routesRollback.name, edit })
      return { ...toOutcome(changed), leftOut: [...leftOut] }
    }),
  ]
}

/** @throws routing.version-not-found */
async function getMap(sql: Sql, version: number | undefined): Promise<StoredMap> {
  const map = await findMap(sql, version)
  if (map) return map
  throw new AppError("routing.version-not-found", `the routing map has no version ${version ?? ""}`.trimEnd())
}

const toOutcome = ({ map, changed, differences }: ChangedMap) => ({
  changed,
  version: map.version,
  differences: [...differences],
})

function describe(operation: AnyOperation) {
  const { name, service, summary, method, path, effect, permission } = operation
  return { name, service, summary, method, path, effect, permission }
}

function toRoute(map: StoredMap | undefined, { name, service }: Pick<AnyOperation, "name" | "service">, row: ShownRow) {
  const { stamps = {} } = map ?? {}
  const stamp = stamps[`routes.${name}`] ?? stamps[`services.${service}`]
  const { services, merge, rules } = row
  return {
    operation: name,
    services: [...services],
    ...(merge === undefined ? {} : { merge }),
    ...(rules === undefined ? {} : { rules }),
    ...(stamp ? { changedAt: toInstant(stamp.at), changedBy: stamp.by } : {}),
  }
}

type ShownRow = Omit<RouteRow, "operation">

/** One about services outside as well: all go through `gateway`, wherever they are. */
function showRoute(operations: MapChangeOptions["operations"], map: StoredMap | undefined, name: string) {
  const { document } = map ?? { document: emptyDocument }
  const operation = operations.get(name)
  if (operation) return toRoute(map, operation, rowOf(document, operation))
  const service = "gateway" as const
  return toRoute(map, { name, service }, { services: [service], rules: document.routes[name]?.rules })
}
