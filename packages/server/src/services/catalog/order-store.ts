/** The SQL of provisioning orders. Instants are milliseconds. Whoever changes one holds its instance's lock. */
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"
import type { OrderKind } from "./instance-machine.ts"
import type { Values } from "./instance-store.ts"

export type OrderState = "queued" | "claimed" | "succeeded" | "failed" | "superseded"

export interface OrderRow {
  readonly instanceId: string
  readonly number: number
  readonly account: string
  readonly providerAccount: string
  readonly provisioner: string
  readonly kind: OrderKind
  readonly state: OrderState
  readonly productVersion: number
  readonly parameters: Values
  readonly epoch: number
  readonly availableAt: number
  readonly percent: number | null
  readonly message: string | null
  readonly cause: string
  readonly causedBy: string
  readonly depth: number
  readonly createdAt: number
  readonly finishedAt: number | null
}

/** A backend that fulfils orders. */
export interface Provisioner {
  readonly account: string
  readonly principal: string
}

const columns = `instance_id as "instanceId", number, account, provider_account as "providerAccount", provisioner, kind,
  state, product_version as "productVersion", parameters, epoch, available_at as "availableAt", percent, message, cause,
  caused_by as "causedBy", depth, created_at as "createdAt", finished_at as "finishedAt"`

export async function insertOrder(tx: Tx, row: OrderRow): Promise<void> {
  await tx.query(
    `insert into catalog_orders (instance_id, number, account, provider_account, provisioner, kind, state,
       product_version, parameters, epoch, available_at, cause, caused_by, depth, created_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, to_timestamp($11::float8 / 1000), $12, $13, $14,
       to_timestamp($11::float8 / 1000))`,
    [
      ...[row.instanceId, row.number, row.account, row.providerAccount, row.provisioner, row.kind, row.state],
      ...[row.productVersion, JSON.stringify(row.parameters), row.epoch, row.createdAt],
      ...[row.cause, row.causedBy, row.depth],
    ],
  )
}

export async function saveOrder(tx: Tx, row: OrderRow): Promise<void> {
  const saved = await tx.query(
    `update catalog_orders set state = $3, epoch = $4, available_at = to_timestamp($5::float8 / 1000), percent = $6,
       message = $7, finished_at = to_timestamp($8::float8 / 1000)
     where instance_id = $1 and number = $2 returning 1`,
    [row.instanceId, row.number, row.state, row.epoch, row.availableAt, row.percent, row.message, row.finishedAt],
  )
  assert(saved.length === 1, "an order is changed under its instance's lock")
}

export async function findOrder(sql: Sql, instanceId: string, number: number): Promise<OrderRow | undefined> {
  const [row] = await sql.query<OrderRow>(
    `select ${columns} from catalog_orders where instance_id = $1 and number = $2`,
    [instanceId, number],
  )
  return row
}

/** The latest orders of these instances. */
export async function readLatestOrders(sql: Sql, instanceIds: readonly string[]): Promise<OrderRow[]> {
  return sql.query<OrderRow>(
    `select distinct on (instance_id) ${columns} from catalog_orders where instance_id = any($1)
     order by instance_id, number desc`,
    [instanceIds],
  )
}

export async function isAnyClaimable(sql: Sql, { account, principal }: Provisioner, now: number): Promise<boolean> {
  const rows = await sql.query(
    `select 1 from catalog_orders
     where provider_account = $1 and provisioner = $2 and finished_at is null
       and available_at <= to_timestamp($3::float8 / 1000)
     limit 1`,
    [account, principal, now],
  )
  return rows.length > 0
}

/** Locks the instance of the order that has waited longest, passing by those that somebody else works on at the moment. */
export async function lockClaimable(
  tx: Tx,
  { account, principal }: Provisioner,
  now: number,
): Promise<{ readonly instanceId: string; readonly number: number } | undefined> {
  const [row] = await tx.query<{ instanceId: string; number: number }>(
    `select o.instance_id as "instanceId", o.number
     from catalog_orders o join catalog_instances i on i.id = o.instance_id
     where o.provider_account = $1 and o.provisioner = $2 and o.finished_at is null
       and o.available_at <= to_timestamp($3::float8 / 1000)
     order by o.available_at limit 1 for update skip locked`,
    [account, principal, now],
  )
  return row
}

/** The newest instances first, and of each the newest order. */
export async function listOrders(
  sql: Sql,
  { account, principal }: Provisioner,
  page: {
    readonly before: readonly [instanceId: string, number: number] | undefined
    readonly limit: number
    readonly state: string | undefined
  },
): Promise<OrderRow[]> {
  return sql.query<OrderRow>(
    `select ${columns} from catalog_orders
     where provider_account = $1 and provisioner = $2 and ($3::text is null or (instance_id, number) < ($3, $4::int))
       and ($5::text is null or state = $5)
     order by instance_id desc, number desc limit $6`,
    [account, principal, page.before?.[0] ?? null, page.before?.[1] ?? null, page.state ?? null, page.limit],
  )
}

/** Open orders for a product that somebody else than this provisioner has. */
export async function findOrdersOfOthers(
  sql: Sql,
  provider: Provisioner,
  of: { readonly product: string; readonly limit: number },
): Promise<ReadonlyArray<{ readonly instanceId: string; readonly number: number }>> {
  return sql.query<{ instanceId: string; number: number }>(
    `select o.instance_id as "instanceId", o.number
     from catalog_instances i join catalog_orders o on o.instance_id = i.id and o.number = i.order_number
     where i.provider_account = $1 and i.product = $2 and i.ended_at is null and o.finished_at is null
       and o.provisioner <> $3
     limit $4`,
    [provider.account, of.product, provider.principal, of.limit],
  )
}

/** Gives an order to another provisioner: whoever had claimed it is heard no more. */
export async function giveOrder(tx: Tx, order: OrderRow, to: { provisioner: string; now: number }): Promise<void> {
  await tx.query(
    `update catalog_orders set provisioner = $3, state = 'queued', available_at = to_timestamp($4::float8 / 1000)
     where instance_id = $1 and number = $2`,
    [order.instanceId, order.number, to.provisioner, to.now],
  )
}
