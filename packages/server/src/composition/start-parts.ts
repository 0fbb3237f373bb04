import type { Egress } from "../egress/egress.ts"
import type { Service } from "../router/handler.ts"
import type { RoutingTable } from "../services/routing/service.ts"
import type { ConfigurationWatcher } from "../storage/configuration-versions.ts"
import { blobCollection } from "../storage/blobs.ts"
import type { Notifier } from "../storage/notifier.ts"
import { startBackgroundQueue } from "../storage/background-queue.ts"
import type { Expander } from "../storage/outbox.ts"
import { servicesStopLimits, stopParts } from "../stop-parts.ts"
import { storageRetention } from "../storage/retention.ts"
import type { CompositionOptions } from "./options.ts"
import { WorkPlace } from "./work-place.ts"

/** Starts background work and services; gives what stops them in the opposite order. */
export async function startParts(
  options: CompositionOptions,
  services: readonly Service[],
  parts: {
    readonly watcher: ConfigurationWatcher
    readonly expanders: ReadonlyMap<string, Expander>
    readonly egress: Egress
    readonly notifier: Notifier
    readonly signingKeyId: string
    readonly table: RoutingTable
  },
): Promise<() => Promise<void>> {
  const { connection, database, serverId, logger, clock } = options
  const stops: Array<() => Promise<void>> = [
    () => parts.egress.close(),
    () => parts.watcher.stop(),
    () => parts.notifier.close(),
  ]
  const stop = (): Promise<void> => stopParts(stops, logger, servicesStopLimits)
  try {
    const background = await startBackgroundQueue({
      connection,
      database,
      serverId,
      blobStoreId: options.blobs.store.id,
      logger,
      notifier: parts.notifier,
      signingKeyId: parts.signingKeyId,
      expanders: parts.expanders,
      elsewhere: parts.table.current().elsewhere,
      consumers: services.flatMap((service) => service.consumers ?? []),
      tasks: services.flatMap((service) => service.tasks ?? []),
      cronTasks: [
        ...storageRetention(() => clock.now()),
        blobCollection(options.blobs.store),
        ...services.flatMap((service) => service.cronTasks ?? []),
      ],
    })
    stops.push(() => background.stop())
    for (const service of services) {
      stops.push(async () => service.stop?.())
      await service.start?.()
    }
    const workPlace = new WorkPlace({ services, table: parts.table, background, logger })
    stops.push(() => workPlace.stop())
    workPlace.start()
    return stop
  } catch (error) {
    await stop()
    throw error
  }
}
