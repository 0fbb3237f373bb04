import type { portfoliosApply } from "@signalbox/contracts/catalog/portfolios"
import type { productsApply } from "@signalbox/contracts/catalog/products"
import type { InputOf } from "@signalbox/contracts/operation"
import { stringify } from "yaml"
import { durationText } from "./duration-text.ts"

/** A product as a document, always written the same way, so that two of them can be compared. */
export function productText(product: InputOf<typeof productsApply>): string {
  const { name, description, parameters, regions, outputs, provisioner } = product
  return stringify({
    kind: "Product",
    name,
    ...given({ description }),
    parameters: sorted(parameters, given),
    regions,
    outputs: sorted(outputs, given),
    provisioner,
  })
}

type Portfolio = InputOf<typeof portfoliosApply>
type Constraints = NonNullable<Portfolio["products"]>[string]

/** A portfolio, likewise. */
export function portfolioText(portfolio: Portfolio): string {
  const { name, description, import: source, products, access, liveMax, liveMaxPerPrincipal, sharedWith } = portfolio
  return stringify({
    kind: "Portfolio",
    name,
    ...given({ description, import: source && given({ account: source.account, portfolio: source.portfolio }) }),
    ...given({ products: products && sorted(products, constraintsOf) }),
    ...given({ access: access && { principals: access.principals, teams: access.teams, roles: access.roles } }),
    ...given({ liveMax, liveMaxPerPrincipal }),
    sharedWith,
  })
}

function constraintsOf({ parameters, regions, liveMax, liveMaxPerPrincipal, lifetimeMax }: Constraints): object {
  return {
    parameters: sorted(parameters, given),
    ...given({ regions, liveMax, liveMaxPerPrincipal }),
    ...given({ lifetimeMax: lifetimeMax === undefined ? undefined : durationText(lifetimeMax) }),
  }
}

function sorted<Value>(all: Readonly<Record<string, Value>>, write: (value: Value) => object): Record<string, object> {
  const entries = Object.entries(all).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([name, value]) => [name, write(value)]))
}

/** Members that are present, in the order of their names. */
function given(fields: object): Record<string, unknown> {
  const present = Object.entries(fields).filter(([, value]) => value !== undefined)
  return Object.fromEntries(present.toSorted(([a], [b]) => (a < b ? -1 : 1)) as Array<[string, unknown]>)
}
