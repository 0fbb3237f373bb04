import {
  gatewayLimits,
  servicesCheck,
  servicesGet,
  servicesList,
  servicesPut,
  servicesRemove,
} from "@signalbox/contracts/gateway/operations"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { getDuration } from "@signalbox/kernel/duration"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import { raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import { apiOf, operationsOf } from "./external-operation.ts"
import { askTarget } from "./health-watch.ts"
import type { GatewayOptions } from "./options.ts"
import type { RegisteredService } from "./registered-service.ts"
import { checkService } from "./service-check.ts"
import { servicesComponent, type ServiceDirectory } from "./service-directory.ts"
import {
  countServices,
  deleteService,
  findService,
  listServices,
  lockService,
  putService,
  type ServiceRow,
} from "./store.ts"
import { toCallable, toService } from "./wire.ts"

export function gatewayHandlers(options: GatewayOptions, directory: ServiceDirectory): Handler[] {
  return [
    onChange(servicesPut, (input, ctx) => put(options, input, ctx), {
      prepare: (input, ctx) => checkService(options, input, ctx),
    }),
    onRead(servicesList, async (input, { sql, account }) => {
      const [after = ""] = input.cursor === undefined ? [] : decodeCursor(input.cursor, 1)
      const rows = await listServices(sql, account, { after: String(after), limit: input.limit + 1 })
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      const more = rows.length > input.limit && last !== undefined
      return { items: shown.map(toService), ...(more ? { nextCursor: encodeCursor([last.name]) } : {}) }
    }),
    onRead(servicesGet, async ({ name }, { sql, account }) => {
      const row = await findService(sql, account, name)
      if (!row) throw serviceNotFound(name)
      const operations = operationsOf(row, apiOf(row))
      const document = JSON.parse(row.document) as Record<string, unknown>
      return { ...toService(row), callable: operations.map(toCallable), document }
    }),
    onChange(servicesRemove, async ({ name }, ctx) => {
      const row = await lockService(ctx.tx, ctx.account, name)
      if (!row) throw serviceNotFound(name)
      await deleteService(ctx.tx, ctx.account, name)
      await told(options, ctx, { row: { ...row, version: row.version + 1 }, type: "service.removed" })
      return { name }
    }),
    onRead(servicesCheck, async ({ name }, { account }) => {
      const service = directory.find(account, name)
      if (!service) throw serviceNotFound(name)
      return { name, upstreams: await tryUpstreams(options, service) }
    }),
  ]
}

const serviceNotFound = (name: string): AppError =>
  new AppError("gateway.service-not-found", `there is no service "${name}" in this account`)

async function put(options: GatewayOptions, input: InputOf<typeof servicesPut>, ctx: ChangeContext) {
  const { name, description: given, document: documentGiven, ...spec } = input
  const description = given ?? null
  const document = JSON.stringify(documentGiven)
  const existing = await lockService(ctx.tx, ctx.account, name)
  const isSame =
    existing !== undefined &&
    existing.description === description &&
    existing.document === document &&
    canonicalJson(existing.spec) === canonicalJson(spec)
  if (isSame)
    return { ...toService(existing), operationsCount: operationsOf(existing, apiOf(existing)).length, changed: false }
  if (!existing && (await countServices(ctx.tx, ctx.account)) >= gatewayLimits.servicesMax)
    throw new AppError("gateway.too-many", `an account has ${gatewayLimits.servicesMax} services at most`)
  const id = existing?.id ?? newId("externalService", options.clock, options.random)
  const row = await putService(
    ctx.tx,
    { account: ctx.account, name, id, description, spec, document, changedBy: ctx.caller.principal },
    ctx.now,
  )
  await told(options, ctx, { row, type: existing ? "service.changed" : "service.registered" })
  return { ...toService(row), operationsCount: operationsOf(row, apiOf(row)).length, changed: true }
}

async function told(
  options: GatewayOptions,
  ctx: ChangeContext,
  { row, type }: { readonly row: ServiceRow; readonly type: string },
): Promise<void> {
  await raiseConfigurationVersion(ctx.tx, ctx.account, servicesComponent)
  const { id, name, version } = row
  ctx.emit({ aggregate: id, type, subject: id, version, data: { name } })
  ctx.afterCommit(options.configurationChanged)
}

const checkPath = "/"

/** One GET to each base URL, beside the calls that pass: any status is an answer. */
function tryUpstreams({ clock }: GatewayOptions, service: RegisteredService) {
  const { health } = service.row.spec
  const path = health?.path ?? checkPath
  const timeoutMilliseconds = getDuration(health?.timeout ?? service.row.spec.timeouts.connect)
  return Promise.all(
    service.upstream.targets.map(async (target) => {
      const begun = clock.now()
      const { status, problem } = await askTarget(target, { path, timeoutMilliseconds })
      const { url, state, pending } = target
      return {
        url,
        reachable: status !== undefined,
        ...(status === undefined ? {} : { status, milliseconds: clock.now() - begun }),
        ...(problem === undefined ? {} : { problem }),
        state,
        pending,
      }
    }),
  )
}
