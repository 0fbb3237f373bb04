/** The catalog's things as the operations give them. Pure. */
import type { catalogLaunch } from "@signalbox/contracts/catalog/instances"
import type { portfoliosGet } from "@signalbox/contracts/catalog/portfolios"
import type { productsGet } from "@signalbox/contracts/catalog/products"
import type { provisioningOrdersRenew } from "@signalbox/contracts/catalog/provisioning-orders"
import type { OutputOf } from "@signalbox/contracts/operation"
import { toInstant } from "@signalbox/kernel/clock"
import { toIsoDuration } from "@signalbox/kernel/duration"
import type { EffectiveProduct } from "./constraints.ts"
import type { InstanceRow } from "./instance-store.ts"
import type { OrderRow } from "./order-store.ts"
import type { PortfolioRow } from "./portfolio-store.ts"
import type { ProductRow } from "./product-store.ts"

interface Changed {
  readonly version: number
  readonly createdAt: number
  readonly changedAt: number
  readonly changedBy: string
}

const changes = ({ version, createdAt, changedAt, changedBy }: Changed) => ({
  version,
  createdAt: toInstant(createdAt),
  changedAt: toInstant(changedAt),
  changedBy,
})

export function toProduct(row: Omit<ProductRow, "account" | "removed">): OutputOf<typeof productsGet> {
  return { id: row.id, name: row.name, ...row.definition, ...changes(row) }
}

type Portfolio = Omit<OutputOf<typeof portfoliosGet>, "effective" | "gone">

export function toPortfolio(row: PortfolioRow): Portfolio {
  const { principalIds: _, ...definition } = row.definition
  return { id: row.id, name: row.name, ...definition, ...changes(row) }
}

export function toEffectiveProduct(
  product: ProductRow,
  effective: EffectiveProduct,
): OutputOf<typeof portfoliosGet>["effective"][number] {
  const { parameters, regions, liveMax, liveMaxPerPrincipal, lifetimeMaxMilliseconds } = effective
  return {
    product: product.name,
    version: product.version,
    parameters: Object.fromEntries(
      Object.entries(parameters).map(([name, { enum: values, patterns, min, max }]) => [
        name,
        {
          patterns: [...patterns],
          ...(values ? { enum: [...values] } : {}),
          ...(min === undefined ? {} : { min }),
          ...(max === undefined ? {} : { max }),
        },
      ]),
    ),
    ...(regions === undefined ? {} : { regions: [...regions] }),
    ...(liveMax === undefined ? {} : { liveMax }),
    ...(liveMaxPerPrincipal === undefined ? {} : { liveMaxPerPrincipal }),
    ...(lifetimeMaxMilliseconds === undefined ? {} : { lifetimeMax: toIsoDuration(lifetimeMaxMilliseconds) }),
  }
}

/** `order` is the instance's latest; shown while it is under way. */
export function toInstance(row: InstanceRow, order: OrderRow | undefined): OutputOf<typeof catalogLaunch> {
  const open = order?.finishedAt === null ? order : undefined
  const progress = open && progressOf(open)
  return {
    id: row.id,
    ...(row.name === null ? {} : { name: row.name }),
    state: row.state,
    portfolio: row.portfolio,
    product: row.product,
    productVersion: row.productVersion,
    ...(row.region === null ? {} : { region: row.region }),
    parameters: { ...row.parameters },
    owner: row.owner,
    outputs: { ...row.outputs },
    secretOutputs: [...row.secretNames],
    ...(row.reason === null ? {} : { reason: row.reason }),
    ...(progress ? { progress } : {}),
    ...(open ? { order: orderIdOf(open) } : {}),
    ...(row.expiresAt === null ? {} : { expiresAt: toInstant(row.expiresAt) }),
    version: row.version,
    createdAt: toInstant(row.createdAt),
    changedAt: toInstant(row.changedAt),
    ...(row.endedAt === null ? {} : { endedAt: toInstant(row.endedAt) }),
  }
}

function progressOf({ percent, message }: OrderRow): { percent?: number; message?: string } | undefined {
  if (percent === null && message === null) return undefined
  return { ...(percent === null ? {} : { percent }), ...(message === null ? {} : { message }) }
}

export function toOrder(order: OrderRow, instance: InstanceRow): OutputOf<typeof provisioningOrdersRenew> {
  return {
    id: orderIdOf(order),
    kind: order.kind,
    state: order.state,
    epoch: order.epoch,
    ...(order.state === "claimed" ? { leaseUntil: toInstant(order.availableAt) } : {}),
    instance: instance.id,
    account: instance.account,
    ...(instance.name === null ? {} : { name: instance.name }),
    portfolio: instance.portfolio,
    product: instance.product,
    productVersion: order.productVersion,
    ...(instance.region === null ? {} : { region: instance.region }),
    parameters: { ...order.parameters },
    outputs: { ...instance.outputs },
    owner: instance.owner,
    createdAt: toInstant(order.createdAt),
    ...(order.finishedAt === null ? {} : { finishedAt: toInstant(order.finishedAt) }),
  }
}

/** As with tasks: the instance's characters and the order's number. */
function orderIdOf({ instanceId, number }: Pick<OrderRow, "instanceId" | "number">): string {
  return `ord_${instanceId.slice(4)}_${number}`
}

/** The parts of an order's id, or undefined where the text is none. */
export function parseOrderId(text: string): { readonly instanceId: string; readonly number: number } | undefined {
  const match = /^ord_([0-9a-z]{26})_(\d{1,9})$/.exec(text)
  return match ? { instanceId: `ins_${match[1]}`, number: Number(match[2]) } : undefined
}
