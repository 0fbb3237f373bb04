import { catalogLimits } from "@signalbox/contracts/catalog/catalog-limits"
import { productsApply, productsGet, productsList, productsRemove } from "@signalbox/contracts/catalog/products"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError, type Issue } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import type { Sql } from "../../storage/database.ts"
import { compilePattern, findValueFault } from "../../parameters/parameter-values.ts"
import { asStored, lockConfiguration, nameAfter, pageOfRows } from "./configuration.ts"
import type { ProductDefinition } from "./definitions.ts"
import { findLiveOf } from "./instance-store.ts"
import type { CatalogContext } from "./options.ts"
import { findPortfoliosWith } from "./portfolio-store.ts"
import {
  countProducts,
  findProduct,
  findProductVersion,
  listProducts,
  lockProduct,
  putProduct,
  removeProduct,
  type ProductRow,
} from "./product-store.ts"
import { toProduct } from "./wire.ts"

const namesShownMax = 5

export function productHandlers(context: CatalogContext): Handler[] {
  return [
    onChange(productsApply, (input, ctx) => applyProduct(context, input, ctx)),
    onRead(productsList, async ({ cursor, limit }, { sql, account }) => {
      const rows = await listProducts(sql, account, { after: nameAfter(cursor), limit: limit + 1 })
      return pageOfRows(rows, limit, { keyOf: ({ name }) => [name], toItem: toProduct })
    }),
    onRead(productsGet, async ({ name, version }, { sql, account }) => {
      const row = await getProduct(sql, account, name)
      if (version === undefined || version === row.version) return toProduct(row)
      const found = await findProductVersion(sql, account, { name, version })
      if (!found) throw productNotFound(name, version)
      return toProduct({ ...row, ...found })
    }),
    onChange(productsRemove, async ({ name }, ctx) => {
      const { tx, account, caller, now } = ctx
      await lockConfiguration(tx, account)
      const row = await lockProduct(tx, account, name)
      if (!row || row.removed) throw productNotFound(name)
      const limit = namesShownMax
      const users = [
        ...(await findPortfoliosWith(tx, account, { product: name, limit })).map((each) => `the portfolio "${each}"`),
        ...(await findLiveOf(tx, account, { product: name, limit })),
      ]
      if (users.length > 0)
        throw new AppError("catalog.product-in-use", `the product "${name}" is used by ${users.join(", ")}`)
      const version = await removeProduct(tx, row, { by: caller.principal, now })
      ctx.emit({ aggregate: row.id, type: "product.removed", subject: row.id, version, data: { name } })
      return { name }
    }),
  ]
}

async function applyProduct(context: CatalogContext, input: InputOf<typeof productsApply>, ctx: ChangeContext) {
  const { name, ...rest } = input
  const { tx, account, now } = ctx
  const definition = resolveProduct(context, rest, ctx)
  await lockConfiguration(tx, account)
  const existing = await lockProduct(tx, account, name)
  if (existing && !existing.removed && canonicalJson(existing.definition) === canonicalJson(definition))
    return { ...toProduct(existing), changed: false }
  if ((existing?.removed ?? true) && (await countProducts(tx, account)) >= catalogLimits.productsMax)
    throw new AppError("catalog.too-many", `an account has ${catalogLimits.productsMax} products at most`)
  const id = existing?.id ?? newId("product", context.clock, context.random)
  const row = await putProduct(tx, { account, name, id, definition, changedBy: ctx.caller.principal }, now)
  const type = existing ? "product.changed" : "product.created"
  ctx.emit({ aggregate: id, type, subject: id, version: row.version, data: { name } })
  return { ...toProduct(row), changed: true }
}

/** @throws catalog.invalid-product */
function resolveProduct(
  context: CatalogContext,
  written: Omit<InputOf<typeof productsApply>, "name">,
  { account, now }: ChangeContext,
): ProductDefinition {
  const issues = [...findParameterIssues(written.parameters)]
  // A user may have the same name.
  const found = context.principals
    .listPrincipals(account, now)
    .find(({ kind, id, name }) => kind === "service-account" && [id, name].includes(written.provisioner))
  if (!found) issues.push({ path: "provisioner", message: `there is no service account "${written.provisioner}"` })
  if (issues.length > 0 || !found) {
    const [first] = issues
    throw new AppError("catalog.invalid-product", `${first?.path} ${first?.message}`, { issues })
  }
  return asStored({ ...written, provisionerId: found.id })
}

function* findParameterIssues(parameters: ProductDefinition["parameters"]): Generator<Issue> {
  for (const [name, declaration] of Object.entries(parameters)) {
    const path = `parameters.${name}`
    if (declaration.pattern !== undefined && !compilePattern(declaration.pattern))
      yield { path, message: "the pattern is no RE2 expression" }
    else if (declaration.default !== undefined) {
      const fault = findValueFault(declaration, declaration.default)
      if (fault !== undefined) yield { path: `${path}.default`, message: fault }
    }
  }
}

/** @throws catalog.product-not-found */
async function getProduct(sql: Sql, account: string, name: string): Promise<ProductRow> {
  const row = await findProduct(sql, account, name)
  if (!row) throw productNotFound(name)
  return row
}

export function productNotFound(name: string, version?: number): AppError {
  const which = version === undefined ? "" : `version ${version} of `
  return new AppError("catalog.product-not-found", `there is no ${which}product "${name}" here`)
}
