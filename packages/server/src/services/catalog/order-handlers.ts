import {
  provisioningOrdersClaim,
  provisioningOrdersFail,
  provisioningOrdersList,
  provisioningOrdersRenew,
  provisioningOrdersSucceed,
  provisioningOrdersWait,
} from "@signalbox/contracts/catalog/provisioning-orders"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError, type Issue } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { onChange, onRead, type ChangeContext, type EventStory, type Handler } from "../../router/handler.ts"
import type { Sql } from "../../storage/database.ts"
import { decodeCursor } from "../../storage/cursor.ts"
import { pageOfRows } from "./configuration.ts"
import { changeInstance, tell } from "./instance-change.ts"
import { lockInstance, readInstances, saveInstance, type InstanceRow } from "./instance-store.ts"
import type { CatalogContext } from "./options.ts"
import { findOrder, listOrders, lockClaimable, saveOrder, type OrderRow, type OrderState } from "./order-store.ts"
import { findProductVersion } from "./product-store.ts"
import { sealOutputs } from "./secret-outputs.ts"
import { parseOrderId, toOrder } from "./wire.ts"

type Order = OutputOf<typeof provisioningOrdersRenew>

export function orderHandlers(context: CatalogContext): Handler[] {
  return [
    onRead(provisioningOrdersWait, async ({ seconds }, { account, caller, signal }) => {
      const until = { milliseconds: seconds * 1000, signal }
      return { ready: await context.waiters.wait({ account, principal: caller.principal }, until) }
    }),
    onChange(provisioningOrdersClaim, ({ leaseSeconds }, ctx) => claim(ctx, leaseSeconds)),
    onChange(provisioningOrdersRenew, (input, ctx) => renew(input, ctx)),
    onChange(provisioningOrdersSucceed, (input, ctx) => succeed(context, input, ctx)),
    onChange(provisioningOrdersFail, async ({ order: id, epoch, reason }, ctx) => {
      const held = await lockOrder(ctx, { id, epoch, repeatOf: "failed" })
      if (held.isRepeat) return toOrder(held.order, held.instance)
      return finish(ctx, held, { event: "fail", state: "failed", patch: { reason } })
    }),
    onRead(provisioningOrdersList, async ({ cursor, limit, state }, { sql, account, caller }) => {
      const [instanceId, number] = cursor === undefined ? [] : decodeCursor(cursor, 2)
      const before = instanceId === undefined ? undefined : ([String(instanceId), Number(number)] as const)
      const by = { account, principal: caller.principal }
      const rows = await listOrders(sql, by, { before, limit: limit + 1, state })
      const instances = await readInstances(
        sql,
        rows.map((row) => row.instanceId),
      )
      return pageOfRows(rows, limit, {
        keyOf: (row) => [row.instanceId, row.number],
        toItem: (row) => {
          const instance = instances.get(row.instanceId)
          assert(instance, "an order has its instance")
          return toOrder(row, instance)
        },
      })
    }),
  ]
}

async function claim(ctx: ChangeContext, leaseSeconds: number): Promise<OutputOf<typeof provisioningOrdersClaim>> {
  const { tx, account, caller, now } = ctx
  const found = await lockClaimable(tx, { account, principal: caller.principal }, now)
  if (!found) return {}
  const row = await lockInstance(tx, found.instanceId)
  const order = await findOrder(tx, found.instanceId, found.number)
  assert(row && order?.finishedAt === null, "a claimable order is open and locked")
  const claimed: OrderRow = {
    ...order,
    state: "claimed",
    epoch: order.epoch + 1,
    availableAt: now + leaseSeconds * 1000,
  }
  await saveOrder(tx, claimed)
  const { instance } = await changeInstance(ctx, row, { event: "claim", story: storyOf(order) })
  const data = { order: found.number, kind: order.kind, epoch: claimed.epoch, by: caller.principal }
  if (instance.state === row.state) tell(ctx, instance, { what: "claimed", story: storyOf(order), data })
  return { order: toOrder(claimed, instance) }
}

async function renew(input: InputOf<typeof provisioningOrdersRenew>, ctx: ChangeContext): Promise<Order> {
  const { order: id, epoch, leaseSeconds, percent, message } = input
  const { instance: row, order } = await lockOrder(ctx, { id, epoch })
  const renewed: OrderRow = {
    ...order,
    availableAt: Math.max(order.availableAt, ctx.now + leaseSeconds * 1000),
    percent: percent ?? order.percent,
    message: message ?? order.message,
  }
  await saveOrder(ctx.tx, renewed)
  const instance = await saveInstance(ctx.tx, row, ctx.now)
  const data = { ...(percent === undefined ? {} : { percent }), ...(message === undefined ? {} : { message }) }
  tell(ctx, instance, { what: "progressed", story: storyOf(order), data })
  return toOrder(renewed, instance)
}

async function succeed(
  context: CatalogContext,
  input: InputOf<typeof provisioningOrdersSucceed>,
  ctx: ChangeContext,
): Promise<Order> {
  const held = await lockOrder(ctx, { id: input.order, epoch: input.epoch, repeatOf: "succeeded" })
  const { instance: row, order, isRepeat } = held
  if (isRepeat) return toOrder(order, row)
  await refuseUnknownOutputs(ctx.tx, held, input)
  return finish(ctx, held, {
    event: "succeed",
    state: "succeeded",
    patch: {
      ...{ productVersion: order.productVersion, parameters: order.parameters },
      outputs: { ...row.outputs, ...input.outputs },
      ...sealOutputs(context.sealer, row, input.secretOutputs),
      ...(order.kind === "end" ? {} : { reason: null }),
    },
  })
}

interface HeldOrder {
  readonly instance: InstanceRow
  readonly order: OrderRow
  /** The report was heard before. */
  readonly isRepeat: boolean
}

/** @throws catalog.order-not-found, catalog.lease-lost */
async function lockOrder(
  { tx, account, caller }: ChangeContext,
  of: { readonly id: string; readonly epoch: number; readonly repeatOf?: OrderState },
): Promise<HeldOrder> {
  const { id, epoch, repeatOf } = of
  const place = parseOrderId(id)
  const instance = place && (await lockInstance(tx, place.instanceId))
  const order = place && (await findOrder(tx, place.instanceId, place.number))
  if (!instance || order?.providerAccount !== account || order.provisioner !== caller.principal)
    throw new AppError("catalog.order-not-found", `there is no order "${id}" for ${caller.principal}`)
  if (order.epoch === epoch && order.state === "claimed") return { instance, order, isRepeat: false }
  if (order.epoch === epoch && order.state === repeatOf) return { instance, order, isRepeat: true }
  throw new AppError("catalog.lease-lost", `${id} is ${order.state}, at epoch ${order.epoch} and not ${epoch}`, {
    details: { state: order.state, epoch: order.epoch },
  })
}

async function finish(
  ctx: ChangeContext,
  { instance: row, order }: HeldOrder,
  of: { readonly event: "succeed" | "fail"; readonly state: OrderState; readonly patch: Partial<InstanceRow> },
): Promise<Order> {
  const finished: OrderRow = { ...order, state: of.state, finishedAt: ctx.now }
  await saveOrder(ctx.tx, finished)
  const { event, patch } = of
  const { instance } = await changeInstance(ctx, row, { event, patch, story: storyOf(order) })
  return toOrder(finished, instance)
}

/** What a provisioner does belongs to the story of the call that asked for it, in that call's account. */
const storyOf = ({ account, cause, causedBy, depth }: OrderRow): EventStory => ({ account, cause, causedBy, depth })

/** @throws catalog.invalid-outputs */
async function refuseUnknownOutputs(
  sql: Sql,
  { instance, order }: HeldOrder,
  { outputs, secretOutputs }: InputOf<typeof provisioningOrdersSucceed>,
): Promise<void> {
  const of = { name: instance.product, version: order.productVersion }
  const declared = (await findProductVersion(sql, instance.providerAccount, of))?.definition.outputs ?? {}
  const check = (told: Readonly<Record<string, string>>, path: string, secret: boolean): Issue[] =>
    Object.keys(told)
      .filter((name) => !Object.hasOwn(declared, name) || declared[name]?.secret !== secret)
      .map((name) => ({
        path: `${path}.${name}`,
        message: `is no ${secret ? "secret " : ""}output of ${of.name} ${of.version}`,
      }))
  const issues = [...check(outputs, "outputs", false), ...check(secretOutputs, "secretOutputs", true)]
  const [first] = issues
  if (first) throw new AppError("catalog.invalid-outputs", `${first.path} ${first.message}`, { issues })
}
