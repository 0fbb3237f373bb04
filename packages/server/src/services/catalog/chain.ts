/** Reads a portfolio with all that it imports, and what holds after the whole chain. Reads, decides nothing. */
import { catalogLimits } from "@signalbox/contracts/catalog/catalog-limits"
import { AppError } from "@signalbox/kernel/app-error"
import type { Sql } from "../../storage/database.ts"
import { intersect, type EffectivePortfolio } from "./constraints.ts"
import type { PortfolioDefinition } from "./definitions.ts"
import type { Link } from "./launch-rules.ts"
import { findPortfolio, type PortfolioPlace, type PortfolioRow } from "./portfolio-store.ts"
import { readProducts, type ProductRow } from "./product-store.ts"

/** From the portfolio that has the products to the one that was asked for; never empty. */
export interface Chain {
  readonly links: readonly Link[]
  /** The account whose products these are. */
  readonly providerAccount: string
}

export function sourceOf(account: string, { import: source }: PortfolioDefinition): PortfolioPlace | undefined {
  return source && { account: source.account ?? account, name: source.portfolio }
}

/** @throws catalog.portfolio-not-found, catalog.source-gone */
export async function readChain(sql: Sql, place: PortfolioPlace, { hold = false } = {}): Promise<Chain> {
  const row = await findPortfolio(sql, place, { hold })
  if (!row) throw portfolioNotFound(place.name)
  return followImports(sql, row, { hold })
}

/** @throws catalog.source-gone */
export async function followImports(
  sql: Sql,
  row: Pick<PortfolioRow, "account" | "id" | "name" | "definition">,
  { hold = false } = {},
): Promise<Chain> {
  const links: Link[] = [row]
  for (;;) {
    const [last = row] = links
    const source = sourceOf(last.account, last.definition)
    if (!source) return { links, providerAccount: last.account }
    if (links.length >= catalogLimits.chainLengthMax)
      throw new AppError(
        "catalog.source-gone",
        `"${row.name}" imports through more than ${catalogLimits.chainLengthMax} portfolios`,
      )
    const found = await findPortfolio(sql, source, { hold })
    const isShared = source.account === last.account || found?.definition.sharedWith.includes(last.account) === true
    if (!found || !isShared)
      throw new AppError("catalog.source-gone", `"${source.name}", which "${last.name}" imports, is not there for it`)
    if (links.some(({ id }) => id === found.id))
      throw new AppError("catalog.source-gone", `"${row.name}" imports itself`)
    links.unshift(found)
  }
}

export interface EffectiveChain extends Chain {
  readonly products: ReadonlyMap<string, ProductRow>
  readonly effective: EffectivePortfolio
}

/** What holds after the chain, with the newest versions of its products. */
export async function readEffective(sql: Sql, chain: Chain): Promise<EffectiveChain> {
  const names = Object.keys(chain.links[0]?.definition.products ?? {})
  const rows = await readProducts(sql, chain.providerAccount, names)
  const products = new Map(rows.map((row) => [row.name, row]))
  const definitions = new Map(rows.map(({ name, definition }) => [name, definition]))
  const effective = intersect(
    definitions,
    chain.links.map(({ definition }) => definition),
  )
  return { ...chain, products, effective }
}

export function portfolioNotFound(name: string): AppError {
  return new AppError("catalog.portfolio-not-found", `there is no portfolio "${name}" in this account`)
}
