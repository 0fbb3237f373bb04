import { instancesOperations } from "./instances.ts"
import { portfoliosOperations } from "./portfolios.ts"
import { productsOperations } from "./products.ts"
import { provisioningOrdersOperations } from "./provisioning-orders.ts"

export const catalogOperations = [
  ...productsOperations,
  ...portfoliosOperations,
  ...instancesOperations,
  ...provisioningOrdersOperations,
] as const
