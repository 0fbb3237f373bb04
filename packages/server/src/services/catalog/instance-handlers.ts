import {
  catalogEnd,
  catalogUpdate,
  instancesGet,
  instancesList,
  instancesReveal,
} from "@signalbox/contracts/catalog/instances"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import {
  onChange,
  onRead,
  type CallPlan,
  type Caller,
  type ChangeContext,
  type GateAttributes,
  type Handler,
  type ReadContext,
} from "../../router/handler.ts"
import { decodeCursor } from "../../storage/cursor.ts"
import type { Sql } from "../../storage/database.ts"
import { pageOfRows } from "./configuration.ts"
import { endInstance } from "./end-instance.ts"
import { changeInstance, tell } from "./instance-change.ts"
import { nextState } from "./instance-machine.ts"
import { findInstance, listInstances, lockInstance, saveInstance, type InstanceRow } from "./instance-store.ts"
import { judgeValues, ownerOf } from "./launch.ts"
import type { CatalogContext } from "./options.ts"
import { findOrder, readLatestOrders } from "./order-store.ts"
import { unsealOutputs } from "./secret-outputs.ts"
import { toInstance } from "./wire.ts"

export function instanceHandlers(context: CatalogContext): Handler[] {
  return [
    onChange(catalogUpdate, (input, ctx) => updateInstance(context, input, ctx), {
      gateAttributes: attributesOf,
      plan: planUpdate,
    }),
    onChange(
      catalogEnd,
      async ({ instance: id, reason }, ctx) => {
        const row = await lockOwn(ctx, id)
        const { instance, order } = await endInstance(ctx, row, {
          reason,
          story: { cause: ctx.cause, causedBy: ctx.requestId, depth: ctx.depth + 1 },
        })
        ctx.afterCommit(() => context.waiters.added())
        return toInstance(instance, order)
      },
      { gateAttributes: attributesOf, plan: planEnd },
    ),
    onRead(instancesList, async (input, { sql, account, caller }) => {
      const { cursor, limit, mine, ...filter } = input
      const [before] = cursor === undefined ? [] : decodeCursor(cursor, 1)
      const rows = await listInstances(sql, account, {
        ...filter,
        before: before === undefined ? undefined : String(before),
        limit: limit + 1,
        ...(mine === "true" ? { owner: ownerOf(caller) } : {}),
      })
      const orders = new Map(
        (
          await readLatestOrders(
            sql,
            rows.map(({ id }) => id),
          )
        ).map((order) => [order.instanceId, order]),
      )
      return pageOfRows(rows, limit, { keyOf: ({ id }) => [id], toItem: (row) => toInstance(row, orders.get(row.id)) })
    }),
    onRead(instancesGet, async ({ instance: id }, { sql, account }) => {
      const row = await getInstance(sql, account, id)
      return toInstance(row, await findOrder(sql, row.id, row.orderNumber))
    }),
    onChange(instancesReveal, async ({ instance: id }, ctx) => {
      const row = await lockOwn(ctx, id)
      const outputs = unsealOutputs(context.sealer, row)
      const seen = await saveInstance(ctx.tx, row, ctx.now)
      tell(ctx, seen, { what: "revealed", data: { outputs: Object.keys(outputs), by: ctx.caller.principal } })
      return { instance: id, outputs }
    }),
  ]
}

async function attributesOf(
  { instance: id }: { readonly instance: string },
  { sql, account }: ReadContext,
): Promise<GateAttributes> {
  const { product, portfolio } = await getInstance(sql, account, id)
  return { product, portfolio }
}

async function planEnd({ instance: id, reason }: InputOf<typeof catalogEnd>, ctx: ReadContext): Promise<CallPlan> {
  const row = await getInstance(ctx.sql, ctx.account, id)
  refuseStrangers(ctx.caller, row)
  if (nextState(row.state, "end") === undefined)
    throw new AppError("catalog.instance-ended", `${id} is ${row.state} already`)
  const { product, portfolio, name, owner, outputs } = row
  return {
    input: { instance: id, ...(reason === undefined ? {} : { reason }) },
    plan: { product, portfolio, owner },
    title: `End ${name ?? id}, ${product} from ${portfolio}`,
    facts: Object.entries(outputs),
  }
}

/** Binds the version and all parameters; an instance that has changed by then is another plan. */
async function planUpdate(input: InputOf<typeof catalogUpdate>, ctx: ReadContext): Promise<CallPlan> {
  const { sql, account, caller } = ctx
  const row = await getInstance(sql, account, input.instance)
  refuseStrangers(caller, row)
  if (nextState(row.state, "update") === undefined)
    throw new AppError("catalog.instance-busy", `${row.id} is ${row.state}: only what is available can be changed`)
  const { version, settled } = await judgeUpdate(sql, row, { input, hold: false })
  const { product, productVersion, parameters } = row
  const changed = Object.entries(settled.parameters).filter(([name, value]) => parameters[name] !== value)
  return {
    input: { instance: row.id, version, parameters: settled.parameters },
    plan: { product, from: { version: productVersion, parameters }, to: { version, parameters: settled.parameters } },
    title: `Update ${row.name ?? row.id}, ${product} from ${row.portfolio}`,
    facts: changed.map(([name, value]) => [name, `${String(parameters[name] ?? "nothing")} becomes ${String(value)}`]),
  }
}

function judgeUpdate(
  sql: Sql,
  row: InstanceRow,
  { input, hold }: { readonly input: InputOf<typeof catalogUpdate>; readonly hold: boolean },
) {
  const { account, portfolio, product, region } = row
  const { version = row.productVersion } = input
  const parameters = { ...row.parameters, ...input.parameters }
  const wanted = { parameters, region: region ?? undefined }
  return judgeValues(sql, { account, portfolio, product, version }, { wanted, hold })
}

async function updateInstance(
  context: CatalogContext,
  input: InputOf<typeof catalogUpdate>,
  ctx: ChangeContext,
): Promise<OutputOf<typeof catalogUpdate>> {
  const row = await lockOwn(ctx, input.instance)
  const { version, settled, provisionerId } = await judgeUpdate(ctx.tx, row, { input, hold: true })
  const { instance, order } = await changeInstance(ctx, row, {
    event: "update",
    patch: { reason: null },
    order: {
      kind: "update",
      provisioner: provisionerId,
      productVersion: version,
      parameters: settled.parameters,
      story: { cause: ctx.cause, causedBy: ctx.requestId, depth: ctx.depth + 1 },
    },
  })
  ctx.afterCommit(() => context.waiters.added())
  return toInstance(instance, order)
}

/** @throws catalog.instance-not-found, catalog.not-the-owner */
async function lockOwn({ tx, account, caller }: ChangeContext, id: string): Promise<InstanceRow> {
  const row = await lockInstance(tx, id)
  if (row?.account !== account) throw instanceNotFound(id)
  refuseStrangers(caller, row)
  return row
}

/** @throws catalog.instance-not-found */
async function getInstance(sql: Sql, account: string, id: string): Promise<InstanceRow> {
  const row = await findInstance(sql, account, id)
  if (!row) throw instanceNotFound(id)
  return row
}

function instanceNotFound(id: string): AppError {
  return new AppError("catalog.instance-not-found", `there is no instance "${id}" in this account`)
}

function refuseStrangers(caller: Caller, { id, owner }: InstanceRow): void {
  if (owner === ownerOf(caller) || caller.permissions.has("catalog.control")) return
  throw new AppError("catalog.not-the-owner", `${id} was launched by ${owner}`)
}
