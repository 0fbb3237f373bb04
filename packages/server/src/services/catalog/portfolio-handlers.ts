import { catalogLimits } from "@signalbox/contracts/catalog/catalog-limits"
import {
  portfoliosApply,
  portfoliosGet,
  portfoliosList,
  portfoliosRemove,
} from "@signalbox/contracts/catalog/portfolios"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError, isAppError, type Issue } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { getDuration, toIsoDuration } from "@signalbox/kernel/duration"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import type { Sql } from "../../storage/database.ts"
import { followImports, portfolioNotFound, readEffective, sourceOf, type EffectiveChain } from "./chain.ts"
import { asStored, lockConfiguration, nameAfter, pageOfRows } from "./configuration.ts"
import { intersect, judgePortfolio, type EffectivePortfolio } from "./constraints.ts"
import type { PortfolioDefinition } from "./definitions.ts"
import type { CatalogContext } from "./options.ts"
import {
  countPortfolios,
  deletePortfolio,
  findImports,
  findPortfolio,
  listPortfolios,
  putPortfolio,
  type PortfolioRow,
} from "./portfolio-store.ts"
import { readProducts } from "./product-store.ts"
import { toEffectiveProduct, toPortfolio } from "./wire.ts"

type Input = InputOf<typeof portfoliosApply>

const namesShownMax = 5

export function portfolioHandlers(context: CatalogContext): Handler[] {
  return [
    onChange(portfoliosApply, (input, ctx) => applyPortfolio(context, input, ctx)),
    onRead(portfoliosList, async ({ cursor, limit }, { sql, account }) => {
      const rows = await listPortfolios(sql, account, { after: nameAfter(cursor), limit: limit + 1 })
      return pageOfRows(rows, limit, { keyOf: ({ name }) => [name], toItem: toPortfolio })
    }),
    onRead(portfoliosGet, async ({ name }, { sql, account }) => {
      const row = await getPortfolio(sql, account, name)
      const found = await findEffective(sql, row)
      if (isAppError(found)) return { ...toPortfolio(row), effective: [], gone: found.message }
      const { products, effective } = found
      const shown = [...effective.products].flatMap(([product, allowed]) => {
        const known = products.get(product)
        return known ? [toEffectiveProduct(known, allowed)] : []
      })
      return { ...toPortfolio(row), effective: shown }
    }),
    onChange(portfoliosRemove, async ({ name }, ctx) => {
      const { tx, account } = ctx
      await lockConfiguration(tx, account)
      const row = await getPortfolio(tx, account, name)
      const imports = await findImports(tx, row, namesShownMax)
      if (imports.length > 0)
        throw new AppError("catalog.portfolio-in-use", `the portfolio "${name}" is imported by ${imports.join(", ")}`)
      await deletePortfolio(tx, row)
      const version = row.version + 1
      ctx.emit({ aggregate: row.id, type: "portfolio.removed", subject: row.id, version, data: { name } })
      return { name }
    }),
  ]
}

async function findEffective(sql: Sql, row: PortfolioRow): Promise<EffectiveChain | AppError> {
  try {
    return await readEffective(sql, await followImports(sql, row))
  } catch (error) {
    if (isAppError(error) && error.code === "catalog.source-gone") return error
    throw error
  }
}

async function applyPortfolio(context: CatalogContext, input: Input, ctx: ChangeContext) {
  const { tx, account, now } = ctx
  const { name } = input
  const definition = resolvePortfolio(context, input, ctx)
  await lockConfiguration(tx, account)
  const existing = await findPortfolio(tx, { account, name })
  if (existing && canonicalJson(existing.definition) === canonicalJson(definition))
    return { ...toPortfolio(existing), changed: false }
  if (!existing && (await countPortfolios(tx, account)) >= catalogLimits.portfoliosMax)
    throw new AppError("catalog.too-many", `an account has ${catalogLimits.portfoliosMax} portfolios at most`)
  const id = existing?.id ?? newId("portfolio", context.clock, context.random)
  await refuseWider(tx, { account, id, name, definition })
  const source = sourceOf(account, definition)
  const changedBy = ctx.caller.principal
  const row = await putPortfolio(tx, { account, name, id, definition, changedBy }, { source, now })
  const type = existing ? "portfolio.changed" : "portfolio.created"
  ctx.emit({ aggregate: id, type, subject: id, version: row.version, data: { name } })
  return { ...toPortfolio(row), changed: true }
}

/** @throws catalog.constraint-widens, catalog.invalid-portfolio, catalog.portfolio-not-found, catalog.source-gone */
async function refuseWider(sql: Sql, row: Pick<PortfolioRow, "account" | "id" | "name" | "definition">): Promise<void> {
  const { account, name, definition } = row
  const { invalid, widening } = judgePortfolio(definition, await readSource(sql, row))
  refuse("catalog.invalid-portfolio", `the portfolio "${name}" is not right`, invalid)
  const source = sourceOf(account, definition)
  const of = source === undefined ? "its products do" : `"${source.name}" does`
  refuse("catalog.constraint-widens", `the portfolio "${name}" would allow more than ${of}`, widening)
}

async function readSource(
  sql: Sql,
  row: Pick<PortfolioRow, "account" | "id" | "name" | "definition">,
): Promise<EffectivePortfolio> {
  const { account, definition } = row
  const place = sourceOf(account, definition)
  if (place === undefined) {
    const rows = await readProducts(sql, account, Object.keys(definition.products ?? {}))
    return intersect(new Map(rows.map((each) => [each.name, each.definition])), [])
  }
  const found = await findPortfolio(sql, place)
  // What another account doesn't share is not told from what it doesn't have.
  if (!found || (place.account !== account && !found.definition.sharedWith.includes(account)))
    throw new AppError(
      "catalog.portfolio-not-found",
      place.account === account
        ? `there is no portfolio "${place.name}" in this account`
        : `the account "${place.account}" shares no portfolio "${place.name}" with this one`,
    )
  const chain = await followImports(sql, row)
  return (await readEffective(sql, { ...chain, links: chain.links.slice(0, -1) })).effective
}

function refuse(
  code: "catalog.invalid-portfolio" | "catalog.constraint-widens",
  message: string,
  issues: readonly Issue[],
): void {
  const [first] = issues
  if (first) throw new AppError(code, `${message}: ${first.path} ${first.message}`, { issues })
}

/** Durations written one way, principals by their ids. @throws catalog.invalid-portfolio */
function resolvePortfolio(context: CatalogContext, input: Input, ctx: ChangeContext): PortfolioDefinition {
  const { name, ...rest } = input
  const issues: Issue[] = []
  if (rest.import === undefined && rest.products === undefined)
    issues.push({ path: "products", message: "a portfolio that imports nothing lists its products" })
  const principalIds = (rest.access?.principals ?? []).map((principal, index) => {
    const known = context.principals.describePrincipal(ctx.account, principal, ctx.now)
    if (!known)
      issues.push({
        path: `access.principals.${index}`,
        message: `there is no user, service account or key "${principal}"`,
      })
    return known?.id ?? ""
  })
  refuse("catalog.invalid-portfolio", `the portfolio "${name}" is not right`, issues)
  const products =
    rest.products &&
    Object.fromEntries(
      Object.entries(rest.products).map(([product, constraints]) => [
        product,
        constraints.lifetimeMax === undefined
          ? constraints
          : { ...constraints, lifetimeMax: toIsoDuration(getDuration(constraints.lifetimeMax)) },
      ]),
    )
  return asStored({ ...rest, ...(products ? { products } : {}), principalIds })
}

/** @throws catalog.portfolio-not-found */
async function getPortfolio(sql: Sql, account: string, name: string): Promise<PortfolioRow> {
  const row = await findPortfolio(sql, { account, name })
  if (!row) throw portfolioNotFound(name)
  return row
}
