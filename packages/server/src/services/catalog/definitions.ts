import type { portfoliosApply } from "@signalbox/contracts/catalog/portfolios"
import type { productsApply } from "@signalbox/contracts/catalog/products"
import type { InputOf } from "@signalbox/contracts/operation"

/** What administrators wrote, as it is kept, with the principals that it names by their ids. */
export type ProductDefinition = Omit<InputOf<typeof productsApply>, "name"> & { readonly provisionerId: string }

type PortfolioInput = InputOf<typeof portfoliosApply>
export type ProductConstraints = NonNullable<PortfolioInput["products"]>[string]
export type PortfolioDefinition = Omit<PortfolioInput, "name"> & {
  /** Of `access.principals`, in their order. */
  readonly principalIds: readonly string[]
}
