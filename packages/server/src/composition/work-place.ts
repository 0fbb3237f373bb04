import type { Service } from "../router/handler.ts"
import type { RoutingTable } from "../services/routing/service.ts"
import type { BackgroundQueue } from "../storage/background-queue.ts"
import type { StorageLogger } from "../storage/database.ts"

/**
 * Keeps the background work of each service where the routing map has the service: in this process, or left to another
 * server of this database. Owns which workers run here. Work is taken up by rows, leases and jobs, so that it does no harm
 * where two servers have different maps for a moment: both take it up, or neither does yet.
 */
export class WorkPlace {
  readonly #options: WorkPlaceOptions
  readonly #running = new Set<Service>()
  #moving: Promise<void> = Promise.resolve()
  #isStopped = false

  constructor(options: WorkPlaceOptions) {
    this.#options = options
  }

  start(): void {
    const { table } = this.#options
    table.listen(({ elsewhere }) => this.#follow(elsewhere))
    this.#follow(table.current().elsewhere)
  }

  /** Resolves when no worker runs any more. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#moving
    await Promise.all([...this.#running].map((service) => this.#end(service)))
  }

  /** One map after another: what was begun for the one before is through. */
  #follow(elsewhere: ReadonlySet<string>): void {
    this.#moving = this.#moving.then(() => this.#move(elsewhere))
  }

  async #move(elsewhere: ReadonlySet<string>): Promise<void> {
    if (this.#isStopped) return
    const { services, background, logger } = this.#options
    for (const service of services) {
      if (!service.workers || elsewhere.has(service.name) || this.#running.has(service)) continue
      this.#running.add(service)
      service.workers.start()
    }
    const leaving = [...this.#running].filter(({ name }) => elsewhere.has(name))
    if (leaving.length > 0)
      logger.info({ services: leaving.map(({ name }) => name) }, "background work moves elsewhere")
    await Promise.all([background.leave(elsewhere), ...leaving.map((service) => this.#end(service))])
  }

  async #end(service: Service): Promise<void> {
    this.#running.delete(service)
    await service.workers?.stop().catch((error: unknown) => {
      this.#options.logger.warn({ service: service.name, reason: String(error) }, "stopping background work failed")
    })
  }
}

interface WorkPlaceOptions {
  readonly services: readonly Service[]
  readonly table: Pick<RoutingTable, "current" | "listen">
  readonly background: Pick<BackgroundQueue, "leave">
  readonly logger: StorageLogger
}
