import { operations as declarations } from "@signalbox/contracts/operations"
import type { AnyOperation } from "@signalbox/contracts/operation"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import type { Handler, Service } from "./router/handler.ts"
import { noGates, noUses, type Executor, type OperationCaller } from "./router/ports.ts"
import { createRouter, type Router } from "./router/router.ts"
import { createAuditService } from "./services/audit/service.ts"
import { createFleetService } from "./services/fleet/service.ts"
import { bootstrapIdentity, createIdentityService } from "./services/identity/service.ts"
import { addBuiltInRoutes, createRoutingService } from "./services/routing/service.ts"
import { createWorkflowsService } from "./services/workflows/service.ts"
import { watchConfiguration, type ConfigurationWatcher } from "./storage/configuration-versions.ts"
import { startBackgroundQueue } from "./storage/background-queue.ts"
import type { Connection, Database } from "./storage/database.ts"
import type { Expander } from "./storage/outbox.ts"
import { storageRetention } from "./storage/retention.ts"

/**
 * The composition root: the only place that constructs services and joins their ports. A new service is made here,
 * its handlers join the list, and its port takes the place of the null port.
 */
export interface CompositionOptions {
  readonly database: Database
  /** Where the database is: background work has connections of its own. */
  readonly connection: Connection
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly serverId: string
  /** How nodes and people reach this server. */
  readonly publicUrl: string
  readonly caFingerprint?: string
  /** Takes the place of agents' sessions where there are no agents: in benchmarks. */
  readonly executor?: Executor
  /** Keeps the first administrator's key, where this start makes it. */
  keepFirstKey(keyText: string): Promise<void>
}

export interface Composition {
  readonly router: Router
  readonly operations: ReadonlyMap<string, AnyOperation>
  stop(): Promise<void>
}

export async function compose(options: CompositionOptions): Promise<Composition> {
  const { database, clock, random, logger } = options
  const operations = new Map(declarations.map((operation) => [operation.name, operation]))
  await bootstrapIdentity({ database, clock, random }, options.keepFirstKey)
  await addBuiltInRoutes(database, operations)

  let watcher: ConfigurationWatcher | undefined
  const configurationChanged = (): void => {
    watcher?.refresh().catch((error: unknown) => logger.warn({ err: error }, "loading configuration failed"))
  }
  const handlers: Handler[] = []
  // Services call one another through the router, which is made of the services: the call is bound when it happens.
  let router: Router | undefined
  const caller: OperationCaller = {
    call: (operation, input, as) => {
      if (!router) throw new Error("the router is made before the first call")
      return router.call(operation, input, as)
    },
  }

  const identity = createIdentityService({ database, clock, random, operations, configurationChanged })
  const routing = createRoutingService({
    database,
    operations,
    handlers: () => handlers,
    configurationChanged,
    onRefused: (version, message) => logger.error({ version }, `the routing map was refused: ${message}`),
  })
  const fleet = createFleetService({
    database,
    clock,
    random,
    logger,
    publicUrl: options.publicUrl,
    tls: options.caFingerprint === undefined ? {} : { caFingerprint: options.caFingerprint },
  })
  const workflows = createWorkflowsService({
    database,
    clock,
    random,
    logger,
    operations: caller,
    executor: options.executor ?? fleet.executor,
    serverId: options.serverId,
  })
  const expanders = new Map<string, Expander>()
  const audit = createAuditService({ operations: caller, expanders })

  const services: readonly Service[] = [
    identity.service,
    routing.service,
    fleet.service,
    workflows.service,
    audit.service,
  ]
  for (const expander of services.flatMap((service) => service.expanders ?? [])) expanders.set(expander.type, expander)
  handlers.push(...services.flatMap((service) => service.handlers))
  watcher = await watchConfiguration({
    sql: database,
    listeners: [identity.keys, routing.table],
    onError: (error) => logger.warn({ err: error }, "loading configuration failed"),
  })
  router = createRouter({
    database,
    clock,
    random,
    map: () => routing.table.current(),
    operations,
    authenticators: [identity.keys, ...fleet.authenticators],
    gates: noGates,
    uses: noUses,
  })
  const stops: Array<() => Promise<void>> = [() => watcher.stop()]
  const stop = async (): Promise<void> => {
    for (const stopPart of stops.splice(0).toReversed()) await stopPart()
  }
  try {
    const background = await startBackgroundQueue({
      connection: options.connection,
      database,
      serverId: options.serverId,
      logger,
      expanders,
      consumers: services.flatMap((service) => service.consumers ?? []),
      cronTasks: [...storageRetention(() => clock.now()), ...services.flatMap((service) => service.cronTasks ?? [])],
    })
    stops.push(() => background.stop())
    for (const service of services) {
      stops.push(async () => service.stop?.())
      await service.start?.()
    }
  } catch (error) {
    await stop()
    throw error
  }
  return { router, operations, stop }
}
