import { z } from "zod"
import { roles, type RoleName } from "../identity/roles.ts"
import { defineOperation } from "../operation.ts"
import { accountId, duration, instant, limits, pageInput, pageOf, resourceName } from "../schemas.ts"
import { documentLimits, parameterName } from "../workflows/document.ts"
import { catalogLimits } from "./catalog-limits.ts"

const value = z.union([z.string().max(documentLimits.valueLengthMax), z.number(), z.boolean()])
const live = z.int().min(0).max(catalogLimits.liveMax)
const entries = <Item extends z.ZodType>(item: Item) => z.array(item).max(catalogLimits.accessEntriesMax).default([])

export const parameterConstraint = z
  .strictObject({
    enum: z.array(value).min(1).max(documentLimits.choicesMax).optional(),
    min: z.number().optional(),
    max: z.number().optional(),
    pattern: z.string().max(documentLimits.patternLengthMax).optional().describe("RE2, beside those that hold anyway"),
  })
  .describe("Which values of a parameter are allowed")

export const productConstraints = z.strictObject({
  parameters: z.record(parameterName, parameterConstraint).default({}),
  regions: z.array(resourceName).min(1).max(catalogLimits.regionsMax).optional(),
  liveMax: live.optional().describe("Instances of the product that may live at once"),
  liveMaxPerPrincipal: live.optional().describe("Likewise, of those that one principal launched"),
  lifetimeMax: duration.optional().describe("An instance ends by itself after so long at the latest"),
})

/** What a person writes of a portfolio. */
export const portfolioFields = {
  name: resourceName,
  description: z.string().max(limits.noteLengthMax).optional(),
  import: z
    .strictObject({
      account: accountId.optional().describe("Of another account that shares it; left out, this one"),
      portfolio: resourceName,
    })
    .optional()
    .describe("The portfolio that this one narrows; left out, it has products of this account"),
  products: z
    .record(resourceName, productConstraints)
    .refine(
      (all) => Object.keys(all).length <= catalogLimits.productsInPortfolioMax,
      `at most ${catalogLimits.productsInPortfolioMax} products`,
    )
    .optional()
    .describe("By name, with their constraints; left out of an import: all that the source has"),
  access: z
    .strictObject({
      principals: entries(z.string().min(1).max(128)),
      teams: entries(z.string().min(1).max(128)),
      roles: entries(z.enum(Object.keys(roles) as [RoleName, ...RoleName[]])),
    })
    .optional()
    .describe("Who may launch; left out, everybody of this account who may launch at all"),
  liveMax: live.optional().describe("Instances from this portfolio, and from its imports, that may live at once"),
  liveMaxPerPrincipal: live.optional(),
  sharedWith: z.array(accountId).max(catalogLimits.sharedWithMax).default([]).describe("Accounts that may import it"),
}

const effectiveProduct = z
  .object({
    product: z.string(),
    version: z.int().describe("The newest"),
    parameters: z.record(
      z.string(),
      z.object({
        enum: z.array(value).optional(),
        min: z.number().optional(),
        max: z.number().optional(),
        patterns: z.array(z.string()),
      }),
    ),
    regions: z.array(z.string()).optional(),
    liveMax: z.int().optional(),
    liveMaxPerPrincipal: z.int().optional(),
    lifetimeMax: duration.optional(),
  })
  .describe("What holds of a product after all portfolios from here to the one that has it")

export const portfolio = z
  .object({
    id: z.string(),
    ...portfolioFields,
    version: z.int(),
    createdAt: instant,
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("Products that may be launched, by whom, and within which constraints")

export const portfoliosApply = defineOperation({
  name: "portfolios.apply",
  service: "catalog",
  summary: "Create or change a portfolio",
  description:
    "One that imports another holds its constraints and those of the whole chain; a constraint that would allow more " +
    "than the source does is refused.",
  method: "PUT",
  path: "/v1/portfolios/{name}",
  effect: "change",
  permission: "catalog.write",
  input: z.strictObject(portfolioFields),
  output: portfolio.extend({ changed: z.boolean() }),
  errors: [
    "catalog.portfolio-not-found",
    "catalog.invalid-portfolio",
    "catalog.constraint-widens",
    "catalog.source-gone",
    "catalog.too-many",
  ],
  gateAttributes: { portfolio: "name" },
})

export const portfoliosList = defineOperation({
  name: "portfolios.list",
  service: "catalog",
  summary: "List portfolios",
  method: "GET",
  path: "/v1/portfolios",
  effect: "read",
  permission: "catalog.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(portfolio),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "import.portfolio", "description", "liveMax", "changedBy", "changedAt"] },
})

export const portfoliosGet = defineOperation({
  name: "portfolios.get",
  service: "catalog",
  summary: "Show a portfolio, and what holds in it of each product",
  method: "GET",
  path: "/v1/portfolios/{name}",
  effect: "read",
  permission: "catalog.read",
  input: z.strictObject({ name: resourceName }),
  output: portfolio.extend({
    effective: z.array(effectiveProduct),
    gone: z.string().optional().describe("Why nothing can be launched: its source is not there any more"),
  }),
  errors: ["catalog.portfolio-not-found"],
})

export const portfoliosRemove = defineOperation({
  name: "portfolios.remove",
  service: "catalog",
  summary: "Remove a portfolio that no other one of this account imports; its instances stay",
  method: "DELETE",
  path: "/v1/portfolios/{name}",
  effect: "change",
  permission: "catalog.write",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["catalog.portfolio-not-found", "catalog.portfolio-in-use"],
  gateAttributes: { portfolio: "name" },
})

export const portfoliosOperations = [portfoliosApply, portfoliosList, portfoliosGet, portfoliosRemove] as const
