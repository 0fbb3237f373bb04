/** The SQL of products and their versions. Instants are milliseconds. */
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"
import { versionsKept } from "../../storage/removal-task.ts"
import type { ProductDefinition } from "./definitions.ts"

export interface ProductRow {
  readonly account: string
  readonly name: string
  readonly id: string
  readonly version: number
  readonly definition: ProductDefinition
  readonly removed: boolean
  readonly createdAt: number
  readonly changedAt: number
  readonly changedBy: string
}

const columns = `account, name, id, version, definition, removed, created_at as "createdAt",
  changed_at as "changedAt", changed_by as "changedBy"`

/** One that was removed counts as none. */
export async function findProduct(sql: Sql, account: string, name: string): Promise<ProductRow | undefined> {
  const [row] = await sql.query<ProductRow>(
    `select ${columns} from catalog_products where account = $1 and name = $2 and not removed`,
    [account, name],
  )
  return row
}

/** Also one that was removed. */
export async function lockProduct(tx: Tx, account: string, name: string): Promise<ProductRow | undefined> {
  const [row] = await tx.query<ProductRow>(
    `select ${columns} from catalog_products where account = $1 and name = $2 for update`,
    [account, name],
  )
  return row
}

/** Until the transaction ends it is neither changed nor removed. */
export async function holdProduct(tx: Tx, account: string, name: string): Promise<void> {
  await tx.query("select 1 from catalog_products where account = $1 and name = $2 for share", [account, name])
}

/** What a version is; also of a product that was removed. */
export async function findProductVersion(
  sql: Sql,
  account: string,
  of: { readonly name: string; readonly version: number },
): Promise<Pick<ProductRow, "version" | "definition" | "changedAt" | "changedBy"> | undefined> {
  const [row] = await sql.query<Pick<ProductRow, "version" | "definition" | "changedAt" | "changedBy">>(
    `select version, definition, changed_at as "changedAt", changed_by as "changedBy"
     from catalog_product_versions where account = $1 and name = $2 and version = $3`,
    [account, of.name, of.version],
  )
  return row
}

export async function listProducts(
  sql: Sql,
  account: string,
  page: { readonly after: string; readonly limit: number },
): Promise<ProductRow[]> {
  return sql.query<ProductRow>(
    `select ${columns} from catalog_products where account = $1 and not removed and name > $2 order by name limit $3`,
    [account, page.after, page.limit],
  )
}

export async function readProducts(sql: Sql, account: string, names: readonly string[]): Promise<ProductRow[]> {
  return sql.query<ProductRow>(
    `select ${columns} from catalog_products where account = $1 and not removed and name = any($2)`,
    [account, names],
  )
}

export async function countProducts(sql: Sql, account: string): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    "select count(*)::int as count from catalog_products where account = $1 and not removed",
    [account],
  )
  return row?.count ?? 0
}

/** Creates a product or gives it its next version; its id and the time of its creation stay. */
export async function putProduct(
  tx: Tx,
  product: Pick<ProductRow, "account" | "name" | "id" | "definition" | "changedBy">,
  now: number,
): Promise<ProductRow> {
  const { account, name, id, definition, changedBy } = product
  const [row] = await tx.query<ProductRow>(
    `insert into catalog_products (account, name, id, version, definition, created_at, changed_at, changed_by)
     values ($1, $2, $3, 1, $4, to_timestamp($5::float8 / 1000), to_timestamp($5::float8 / 1000), $6)
     on conflict (account, name) do update set definition = excluded.definition, removed = false,
       version = catalog_products.version + 1, changed_at = excluded.changed_at, changed_by = excluded.changed_by
     returning ${columns}`,
    [account, name, id, JSON.stringify(definition), now, changedBy],
  )
  assert(row, "an upsert returns its row")
  await tx.query(
    `insert into catalog_product_versions (account, name, version, definition, changed_at, changed_by)
     values ($1, $2, $3, $4, to_timestamp($5::float8 / 1000), $6)`,
    [account, name, row.version, JSON.stringify(definition), now, changedBy],
  )
  await tx.query("delete from catalog_product_versions where account = $1 and name = $2 and version <= $3", [
    account,
    name,
    row.version - versionsKept,
  ])
  return row
}

/** Counts as a change, so that versions are never given twice. */
export async function removeProduct(tx: Tx, row: ProductRow, change: { by: string; now: number }): Promise<number> {
  const [found] = await tx.query<{ version: number }>(
    `update catalog_products set removed = true, version = version + 1, changed_by = $4,
       changed_at = to_timestamp($3::float8 / 1000)
     where account = $1 and name = $2 returning version`,
    [row.account, row.name, change.now, change.by],
  )
  assert(found, "a locked row is updated")
  return found.version
}
