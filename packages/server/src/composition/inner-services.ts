import type { AnyOperation } from "@signalbox/contracts/operation"
import type { Egress } from "../egress/egress.ts"
import type { Handler, Service } from "../router/handler.ts"
import { type ArtifactFinder, type Sealer, type SecretReader } from "../router/ports.ts"
import { createAuditService } from "../services/audit/service.ts"
import { createCalendarsService } from "../services/calendars/service.ts"
import { createFleetService } from "../services/fleet/service.ts"
import { createIdentityService } from "../services/identity/service.ts"
import { createRoutingService } from "../services/routing/service.ts"
import { createWorkflowsService } from "../services/workflows/service.ts"
import type { Blobs } from "../storage/blobs.ts"
import type { Notifier } from "../storage/notifier.ts"
import type { Expander } from "../storage/outbox.ts"
import { newSigningKey } from "../storage/signing-key.ts"
import type { CompositionOptions } from "./options.ts"
import { lateCaller, lateExternal, type LateParts } from "./late-parts.ts"

const defaultSessionLimits = { lifetimeMilliseconds: 7 * 86_400_000, idleMilliseconds: 86_400_000 }

/** The same at each start: executions of the process before are taken up at once, without waiting for its leases. */
const onlyServerName = "only"

/** What is there before the services that use it. */
interface ReadyParts {
  readonly blobs: Blobs
  readonly egress: Egress
  readonly notifier: Notifier
  readonly secrets: SecretReader
  readonly sealer: Sealer
  readonly artifacts: ArtifactFinder
}

/** A change is in force here once it has been loaded; where that fails, it is at the next look. */
async function lookAgain({ watcher }: LateParts, logger: CompositionOptions["logger"]): Promise<void> {
  await watcher?.refresh().catch((error: unknown) => logger.warn({ err: error }, "loading configuration failed"))
}

/** Constructs the services and joins their ports. */
export function makeServices(
  options: CompositionOptions,
  operations: ReadonlyMap<string, AnyOperation>,
  { late, ...ready }: ReadyParts & { readonly late: LateParts },
) {
  const { database, clock, random, logger } = options
  const handlers: Handler[] = []
  const expanders = new Map<string, Expander>()
  const configurationChanged = (): Promise<void> => lookAgain(late, logger)
  const caller = lateCaller(late)
  const { secrets, egress, notifier, sealer } = ready
  const external = lateExternal(late)
  const identity = createIdentityService({
    ...{ database, clock, random, logger, operations, external, secrets, egress, configurationChanged },
    sessions: options.sessions ?? defaultSessionLimits,
    ...(options.passwordCost ? { passwordCost: options.passwordCost } : {}),
  })
  const routing = createRoutingService({
    ...{ database, operations, configurationChanged, handlers: () => handlers, external },
    here: { destination: options.destination, urls: [options.publicUrl, options.membersUrl ?? options.publicUrl] },
    onRefused: (version, message) => logger.error({ version }, `the routing map was refused: ${message}`),
  })
  const isOnlyServer = options.isOnlyServer === true
  const fleet = createFleetService({
    ...{ database, clock, random, logger, serverId: options.serverId },
    ...(isOnlyServer ? { isOnlyServer } : { between: { notifier, sealer } }),
    publicUrl: options.publicUrl,
    tls: options.caFingerprint === undefined ? {} : { caFingerprint: options.caFingerprint },
  })
  const calendars = createCalendarsService({
    ...{ database, clock, random, logger, operations, external, caller, egress, secrets, configurationChanged },
    principals: identity.keys,
    publicUrl: options.publicUrl,
  })
  const workflows = createWorkflowsService({
    ...{ database, clock, random, logger, ...ready },
    operations: caller,
    standing: caller,
    principals: identity.keys,
    executor: options.executor ?? fleet.executor,
    windows: calendars.windows,
    probes: fleet.probes,
    processId: options.serverId,
    ...(isOnlyServer ? { serverId: onlyServerName } : { serverId: options.serverId, notifier }),
  })
  const signingKey = options.signingKey ?? newSigningKey()
  const audit = createAuditService({ database, clock, logger, signingKey, operations: caller, expanders })
  const services: readonly Service[] = [
    identity.service,
    routing.service,
    fleet.service,
    workflows.service,
    calendars.service,
    audit.service,
  ]
  return {
    services,
    handlers,
    expanders,
    configurationChanged,
    signingKey,
    people: identity.keys,
    listeners: [...identity.listeners, calendars.calendars],
    ...{ windows: calendars.windows, metrics: fleet.metrics },
    calendars: calendars.calendars,
    table: routing.table,
    authenticators: [...identity.authenticators, ...fleet.authenticators, ...calendars.authenticators],
  }
}
