/** The SQL of portfolios. Instants are milliseconds. */
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"
import type { PortfolioDefinition } from "./definitions.ts"

export interface PortfolioRow {
  readonly account: string
  readonly name: string
  readonly id: string
  readonly version: number
  readonly definition: PortfolioDefinition
  readonly createdAt: number
  readonly changedAt: number
  readonly changedBy: string
}

export interface PortfolioPlace {
  readonly account: string
  readonly name: string
}

const columns = `account, name, id, version, definition, created_at as "createdAt", changed_at as "changedAt",
  changed_by as "changedBy"`

/** `hold`: until the transaction ends it is neither changed nor removed. */
export async function findPortfolio(
  sql: Sql,
  { account, name }: PortfolioPlace,
  { hold = false } = {},
): Promise<PortfolioRow | undefined> {
  const [row] = await sql.query<PortfolioRow>(
    `select ${columns} from catalog_portfolios where account = $1 and name = $2${hold ? " for share" : ""}`,
    [account, name],
  )
  return row
}

export async function listPortfolios(
  sql: Sql,
  account: string,
  page: { readonly after: string; readonly limit: number },
): Promise<PortfolioRow[]> {
  return sql.query<PortfolioRow>(
    `select ${columns} from catalog_portfolios where account = $1 and name > $2 order by name limit $3`,
    [account, page.after, page.limit],
  )
}

export async function countPortfolios(sql: Sql, account: string): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    "select count(*)::int as count from catalog_portfolios where account = $1",
    [account],
  )
  return row?.count ?? 0
}

export async function putPortfolio(
  tx: Tx,
  portfolio: Pick<PortfolioRow, "account" | "name" | "id" | "definition" | "changedBy">,
  of: { readonly source: PortfolioPlace | undefined; readonly now: number },
): Promise<PortfolioRow> {
  const { account, name, id, definition, changedBy } = portfolio
  const [row] = await tx.query<PortfolioRow>(
    `insert into catalog_portfolios (account, name, id, version, definition, source_account, source_name, created_at,
       changed_at, changed_by)
     values ($1, $2, $3, 1, $4, $5, $6, to_timestamp($7::float8 / 1000), to_timestamp($7::float8 / 1000), $8)
     on conflict (account, name) do update set definition = excluded.definition,
       source_account = excluded.source_account, source_name = excluded.source_name,
       version = catalog_portfolios.version + 1, changed_at = excluded.changed_at, changed_by = excluded.changed_by
     returning ${columns}`,
    [
      ...[account, name, id, JSON.stringify(definition), of.source?.account ?? null, of.source?.name ?? null],
      ...[of.now, changedBy],
    ],
  )
  assert(row, "an upsert returns its row")
  return row
}

export async function deletePortfolio(tx: Tx, { account, name }: PortfolioPlace): Promise<void> {
  await tx.query("delete from catalog_portfolios where account = $1 and name = $2", [account, name])
}

/** Names of the account's portfolios that import this one. */
export async function findImports(sql: Sql, { account, name }: PortfolioPlace, limit: number): Promise<string[]> {
  const rows = await sql.query<{ name: string }>(
    `select name from catalog_portfolios where source_account = $1 and source_name = $2 and account = $1
     order by name limit $3`,
    [account, name, limit],
  )
  return rows.map((row) => row.name)
}

/** Names of the account's own portfolios that have this product. */
export async function findPortfoliosWith(
  sql: Sql,
  account: string,
  of: { readonly product: string; readonly limit: number },
): Promise<string[]> {
  const rows = await sql.query<{ name: string }>(
    `select name from catalog_portfolios
     where account = $1 and source_name is null and definition -> 'products' ? $2 order by name limit $3`,
    [account, of.product, of.limit],
  )
  return rows.map((row) => row.name)
}
