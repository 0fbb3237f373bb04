import type { Service } from "../../router/handler.ts"
import { catalogTasks, expiryClock, provisionerConsumer } from "./background.ts"
import { instanceHandlers } from "./instance-handlers.ts"
import { launchHandlers } from "./launch-handlers.ts"
import type { CatalogContext, CatalogOptions } from "./options.ts"
import { orderHandlers } from "./order-handlers.ts"
import { OrderWaiters } from "./order-waiters.ts"
import { portfolioHandlers } from "./portfolio-handlers.ts"
import { productHandlers } from "./product-handlers.ts"

export { sealedOutputs } from "./secret-outputs.ts"

/** What can be launched, by whom and within which constraints; what was launched; and the orders of its provisioners. */
export function createCatalogService(options: CatalogOptions): Service {
  const { database, clock, logger, notifier } = options
  const waiters = new OrderWaiters({ sql: database, clock, logger, notifier })
  const context: CatalogContext = { ...options, waiters }
  const expiry = expiryClock(context)
  return {
    name: "catalog",
    handlers: [
      ...productHandlers(context),
      ...portfolioHandlers(context),
      ...launchHandlers(context),
      ...instanceHandlers(context),
      ...orderHandlers(context),
    ],
    consumers: [provisionerConsumer(context)],
    cronTasks: catalogTasks(context),
    start: () => Promise.resolve(waiters.start()),
    stop: () => waiters.stop(),
    workers: expiry,
  }
}
