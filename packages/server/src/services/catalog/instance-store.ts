/** The SQL of instances. Instants are milliseconds. */
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"
import type { InstanceState } from "./instance-machine.ts"
import type { Quota } from "./launch-rules.ts"

export type Values = Readonly<Record<string, string | number | boolean>>

export interface InstanceRow {
  readonly id: string
  readonly account: string
  readonly name: string | null
  readonly state: InstanceState
  readonly portfolio: string
  readonly chain: readonly string[]
  readonly providerAccount: string
  readonly product: string
  readonly productVersion: number
  readonly region: string | null
  readonly parameters: Values
  readonly owner: string
  readonly outputs: Readonly<Record<string, string>>
  readonly secretNames: readonly string[]
  readonly secretOutputs: string | null
  readonly reason: string | null
  readonly orderNumber: number
  readonly expiresAt: number | null
  readonly version: number
  readonly cause: string
  readonly depth: number
  readonly createdAt: number
  readonly changedAt: number
  readonly endedAt: number | null
}

const columns = `id, account, name, state, portfolio, chain, provider_account as "providerAccount", product,
  product_version as "productVersion", region, parameters, owner, outputs, secret_names as "secretNames",
  secret_outputs as "secretOutputs", reason, order_number as "orderNumber", expires_at as "expiresAt", version, cause,
  depth, created_at as "createdAt", changed_at as "changedAt", ended_at as "endedAt"`

export async function insertInstance(tx: Tx, row: InstanceRow): Promise<void> {
  await tx.query(
    `insert into catalog_instances (id, account, name, state, portfolio, chain, provider_account, product,
       product_version, region, parameters, owner, outputs, secret_names, order_number, expires_at, version, cause, depth,
       created_at, changed_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, to_timestamp($16::float8 / 1000), $17, $18,
       $19, to_timestamp($20::float8 / 1000), to_timestamp($20::float8 / 1000))`,
    [
      ...[row.id, row.account, row.name, row.state, row.portfolio, row.chain, row.providerAccount, row.product],
      ...[row.productVersion, row.region, JSON.stringify(row.parameters), row.owner, JSON.stringify(row.outputs)],
      ...[row.secretNames, row.orderNumber, row.expiresAt, row.version, row.cause, row.depth, row.createdAt],
    ],
  )
}

/** Writes what may change of an instance, under its lock; gives it with its next version. */
export async function saveInstance(tx: Tx, row: InstanceRow, now: number): Promise<InstanceRow> {
  const [saved] = await tx.query<InstanceRow>(
    `update catalog_instances set state = $2, product_version = $3, parameters = $4, outputs = $5, secret_names = $6,
       secret_outputs = $7, reason = $8, order_number = $9, expires_at = to_timestamp($10::float8 / 1000),
       ended_at = to_timestamp($11::float8 / 1000), changed_at = to_timestamp($12::float8 / 1000), version = version + 1
     where id = $1 returning ${columns}`,
    [
      ...[row.id, row.state, row.productVersion, JSON.stringify(row.parameters), JSON.stringify(row.outputs)],
      ...[row.secretNames, row.secretOutputs, row.reason, row.orderNumber, row.expiresAt, row.endedAt, now],
    ],
  )
  assert(saved, "a locked row is updated")
  return saved
}

export async function findInstance(sql: Sql, account: string, id: string): Promise<InstanceRow | undefined> {
  const [row] = await sql.query<InstanceRow>(
    `select ${columns} from catalog_instances where account = $1 and id = $2`,
    [account, id],
  )
  return row
}

/** Of any account: whoever calls says which it may be. */
export async function lockInstance(tx: Tx, id: string): Promise<InstanceRow | undefined> {
  const [row] = await tx.query<InstanceRow>(`select ${columns} from catalog_instances where id = $1 for update`, [id])
  return row
}

export async function listInstances(
  sql: Sql,
  account: string,
  page: {
    readonly before: string | undefined
    readonly limit: number
    readonly state?: string | undefined
    readonly portfolio?: string | undefined
    readonly product?: string | undefined
    readonly owner?: string | undefined
  },
): Promise<InstanceRow[]> {
  const { before, limit, state, portfolio, product, owner } = page
  return sql.query<InstanceRow>(
    `select ${columns} from catalog_instances
     where account = $1 and ($2::text is null or id < $2) and ($3::text is null or state = $3)
       and ($4::text is null or portfolio = $4) and ($5::text is null or product = $5)
       and ($6::text is null or owner = $6)
     order by id desc limit $7`,
    [account, before ?? null, state ?? null, portfolio ?? null, product ?? null, owner ?? null, limit],
  )
}

/** Until the transaction ends nobody else counts or adds instances under this portfolio and its imports. */
export async function lockQuotas(tx: Tx, portfolioId: string): Promise<void> {
  await tx.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [`catalog.quotas ${portfolioId}`])
}

/** Live instances that count towards a quota, `quota.max` at most. */
export async function countLive(sql: Sql, quota: Quota): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    `select count(*)::int as count from (
       select 1 from catalog_instances
       where chain @> array[$1::text] and ended_at is null and ($2::text is null or product = $2)
         and ($3::text is null or owner = $3)
       limit $4) as live`,
    [quota.portfolioId, quota.product ?? null, quota.owner ?? null, quota.max],
  )
  return row?.count ?? 0
}

/** Ids of live instances of a product. */
export async function findLiveOf(
  sql: Sql,
  providerAccount: string,
  of: { readonly product: string; readonly limit: number },
): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    "select id from catalog_instances where provider_account = $1 and product = $2 and ended_at is null limit $3",
    [providerAccount, of.product, of.limit],
  )
  return rows.map(({ id }) => id)
}

export async function listExpired(sql: Sql, now: number, limit: number): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    `select id from catalog_instances where expires_at <= to_timestamp($1::float8 / 1000) order by expires_at limit $2`,
    [now, limit],
  )
  return rows.map(({ id }) => id)
}

/** Removes instances that ended before, with their orders; gives how many. */
export async function removeOldInstances(
  sql: Sql,
  { before, limit }: { readonly before: number; readonly limit: number },
): Promise<number> {
  const rows = await sql.query(
    `with old as (
       select id from catalog_instances where ended_at < to_timestamp($1::float8 / 1000) order by ended_at limit $2
         for update skip locked
     ), orders as (delete from catalog_orders using old where instance_id = old.id)
     delete from catalog_instances i using old where i.id = old.id returning i.id`,
    [before, limit],
  )
  return rows.length
}

/** Of any account: for whoever has orders for them. */
export async function readInstances(sql: Sql, ids: readonly string[]): Promise<ReadonlyMap<string, InstanceRow>> {
  const rows = await sql.query<InstanceRow>(`select ${columns} from catalog_instances where id = any($1)`, [ids])
  return new Map(rows.map((row) => [row.id, row]))
}
