import { operations as declarations } from "@signalbox/contracts/operations"
import type { AnyOperation } from "@signalbox/contracts/operation"
import { assert } from "@signalbox/kernel/assert"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import { createEgress, type Egress, type EgressOptions } from "./egress/egress.ts"
import type { ExternalServices } from "./router/external-ports.ts"
import type { CallReceiver } from "./router/forwarded-call.ts"
import type { Handler, Service } from "./router/handler.ts"
import {
  type ArtifactFinder,
  type CallPlanner,
  type Executor,
  type OperationCaller,
  type Sealer,
  type SecretReader,
  type StandingCaller,
  type StandingRecord,
} from "./router/ports.ts"
import { createRouter, type Router } from "./router/router.ts"
import { createActionsService } from "./services/actions/service.ts"
import { createApprovalsService, sealedInputs } from "./services/approvals/service.ts"
import { createArtifactsService } from "./services/artifacts/service.ts"
import { createAuditService } from "./services/audit/service.ts"
import { createCalendarsService } from "./services/calendars/service.ts"
import { createCatalogService, sealedOutputs } from "./services/catalog/service.ts"
import { createGatewayService } from "./services/gateway/service.ts"
import { createFleetService, sealedRelay } from "./services/fleet/service.ts"
import { bootstrapIdentity, createIdentityService, type IdentityOptions } from "./services/identity/service.ts"
import { createMeteringService } from "./services/metering/service.ts"
import {
  createNotificationsService,
  sealedMessages,
  type NotificationsOptions,
} from "./services/notifications/service.ts"
import { createCallWire, createRoutingService, makeFirstMap } from "./services/routing/service.ts"
import { createRulesService } from "./services/rules/service.ts"
import { createSecretsService, type SecretsOptions } from "./services/secrets/service.ts"
import { createTriggersService, sealedHookSecrets } from "./services/triggers/service.ts"
import { createWorkflowsService } from "./services/workflows/service.ts"
import { watchConfiguration, type ConfigurationWatcher } from "./storage/configuration-versions.ts"
import type { BlobStore } from "./storage/blob-store.ts"
import { blobCollection, createBlobs, type Blobs } from "./storage/blobs.ts"
import { Notifier } from "./storage/notifier.ts"
import { outboxChannel } from "./storage/dispatcher.ts"
import { startBackgroundQueue } from "./storage/background-queue.ts"
import type { Connection, Database } from "./storage/database.ts"
import type { Expander } from "./storage/outbox.ts"
import { newSigningKey, type SigningKey } from "./storage/signing-key.ts"
import { servicesStopLimits, stopParts } from "./stop-parts.ts"
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
  /** No other server can use this database, so whoever owned an execution before is gone. */
  readonly isOnlyServer?: boolean
  /** How nodes and people reach this server. */
  readonly publicUrl: string
  /** Where members of approval groups reach the pages on which they answer; left out, the public URL. */
  readonly membersUrl?: string
  readonly caFingerprint?: string
  /** Where long outputs and artifacts are kept, and how many bytes of them. */
  readonly blobs: { readonly store: BlobStore; readonly bytesMax: number }
  /** Where the master key of the secrets is kept. */
  readonly masterKey: SecretsOptions["masterKey"]
  /** What this installation signs with; left out, a key that goes with the process. */
  readonly signingKey?: SigningKey
  /** What the routing map calls this server, where others may send it calls; left out, it takes none. */
  readonly destination?: string
  /** Public keys (PEM) of other installations whose servers may send it calls too. */
  readonly trustedSigners?: readonly string[]
  /** Which references to this machine secrets may be; left out, none. */
  readonly secretReferences?: SecretsOptions["references"]
  /** What outgoing calls may reach; left out, public and private networks. */
  readonly egress?: EgressOptions
  /** The mail server that notifications go through; left out, there are no mail channels. */
  readonly mail?: NotificationsOptions["mail"]
  /** How long sessions of users last; left out, the settings' defaults. */
  readonly sessions?: IdentityOptions["sessions"]
  /** What hashing a password takes; left out, today's choice. */
  readonly passwordCost?: NonNullable<IdentityOptions["passwordCost"]>
  /** Takes the place of agents' sessions where there are no agents: in benchmarks. */
  readonly executor?: Executor
  /** Keeps the first administrator's key, where this start makes it. */
  keepFirstKey(keyText: string): Promise<void>
}

const defaultSessionLimits = { lifetimeMilliseconds: 7 * 86_400_000, idleMilliseconds: 86_400_000 }

/** The same at each start: executions of the process before are taken up at once, without waiting for its leases. */
const onlyServerName = "only"

export interface Composition {
  readonly router: Router
  /** Takes calls of other servers, where this one is a destination of the routing map. */
  readonly receiver: CallReceiver | undefined
  readonly operations: ReadonlyMap<string, AnyOperation>
  stop(): Promise<void>
}

export async function compose(options: CompositionOptions): Promise<Composition> {
  const { database, clock, random, logger } = options
  const operations = new Map(declarations.map((operation) => [operation.name, operation]))
  await bootstrapIdentity({ database, clock, random }, options.keepFirstKey)
  await makeFirstMap(database)

  // Services call one another through the router and tell the watcher of changes; both are made of the services, so
  // they are bound when the first call happens.
  const late: { router?: Router; watcher?: ConfigurationWatcher; external?: ExternalServices } = {}
  const secrets = await createSecretsService({
    ...{ database, clock, random, logger },
    masterKey: options.masterKey,
    references: options.secretReferences ?? { kinds: [], environment: {} },
    serverId: options.serverId,
    configurationChanged: async () => late.watcher?.refresh(),
  })
  const blobs = createBlobs({ database, ...options.blobs })
  const artifacts = createArtifactsService({ database, clock, random, blobs })
  const egress = createEgress(options.egress ?? { allow: [], privateAllowed: true })
  const notifier = await Notifier.start(options.connection, logger)
  const parts = makeServices(options, operations, {
    ...{ late, egress, notifier },
    secrets: secrets.reader,
    sealer: secrets.sealerFor(sealedRelay),
    artifacts: artifacts.finder,
    blobs,
  })
  const { expanders } = parts
  const gateway = createGatewayService({
    ...{ database, clock, random, logger, egress },
    secrets: secrets.reader,
    configurationChanged: parts.configurationChanged,
  })
  const metering = createMeteringService({ database, clock, logger })
  const outerParts = makeOuterServices(options, parts, { late, operations, egress, secrets, notifier })
  const { approvals, triggers, rules, outer } = outerParts
  const services = [...parts.services, secrets.service, artifacts.service, gateway.service, metering.service, ...outer]
  for (const expander of services.flatMap((service) => service.expanders ?? [])) expanders.set(expander.type, expander)
  parts.handlers.push(...services.flatMap((service) => service.handlers))
  const watcher = await watchConfiguration({
    sql: database,
    listeners: [
      ...parts.listeners,
      ...approvals.directory.listeners,
      ...[parts.table, parts.windows, secrets.listener, gateway.listener, triggers.listener, rules.listener],
    ],
    onError: (error) => logger.warn({ err: error }, "loading configuration failed"),
  })
  const { destination, trustedSigners } = options
  const wire = createCallWire({ ...{ database, clock, random, egress, destination, trustedSigners }, ...parts })
  const router = createRouter({
    ...{ database, clock, random, operations },
    map: () => parts.table.current(),
    authenticators: [...parts.authenticators, approvals.authenticator, triggers.authenticator],
    rules: wire.mapRules(rules.matcher, () => parts.table.current()),
    gates: approvals.gates,
    elsewhere: { remote: wire.remote, guards: approvals.guards },
    uses: metering.uses,
    external: gateway.external,
    markSecretInput: secrets.markInput,
  })
  Object.assign(late, { router, watcher, external: gateway.external })
  const stop = await startParts(options, services, {
    ...{ watcher, expanders, egress, notifier },
    signingKeyId: parts.signingKey.keyId,
  })
  return { router, receiver: wire.receiver, operations, stop }
}

interface LateParts {
  readonly external?: ExternalServices
  readonly router?: Router
  readonly watcher?: ConfigurationWatcher
}

/** What is there before the services that use it. */
interface ReadyParts {
  readonly blobs: Blobs
  readonly egress: Egress
  readonly notifier: Notifier
  readonly secrets: SecretReader
  readonly sealer: Sealer
  readonly artifacts: ArtifactFinder
}

/** Constructs the services and joins their ports. */
function makeServices(
  options: CompositionOptions,
  operations: ReadonlyMap<string, AnyOperation>,
  { late, ...ready }: ReadyParts & { readonly late: LateParts },
) {
  const { database, clock, random, logger } = options
  const handlers: Handler[] = []
  const expanders = new Map<string, Expander>()
  const configurationChanged = async (): Promise<void> => {
    await late.watcher?.refresh().catch((error: unknown) => logger.warn({ err: error }, "loading configuration failed"))
  }
  const caller = lateCaller(late)
  const { secrets, egress, notifier, sealer } = ready
  const identity = createIdentityService({
    ...{ database, clock, random, logger, operations, secrets, egress, configurationChanged },
    sessions: options.sessions ?? defaultSessionLimits,
    ...(options.passwordCost ? { passwordCost: options.passwordCost } : {}),
  })
  const routing = createRoutingService({
    ...{ database, operations, configurationChanged, handlers: () => handlers, external: lateExternal(late) },
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
    ...{ database, clock, random, logger, operations, caller, egress, secrets, configurationChanged },
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

/** Constructs the services that use what the others give. */
function makeOuterServices(
  options: CompositionOptions,
  parts: ReturnType<typeof makeServices>,
  given: {
    readonly late: LateParts
    readonly operations: ReadonlyMap<string, AnyOperation>
    readonly egress: Egress
    readonly secrets: Awaited<ReturnType<typeof createSecretsService>>
    readonly notifier: Notifier
  },
) {
  const { database, clock, random, logger } = options
  const { late, egress, secrets, notifier } = given
  const eventsWritten = (): void => notifier.notify(outboxChannel)
  const notifications = createNotificationsService({
    ...{ database, clock, random, logger, egress },
    operations: lateCaller(late),
    secrets: secrets.reader,
    sealer: secrets.sealerFor(sealedMessages),
    publicUrl: options.publicUrl,
    ...(options.mail === undefined ? {} : { mail: options.mail }),
  })
  const approvals = createApprovalsService({
    ...{ database, clock, random, logger, notifier, eventsWritten, publicUrl: options.publicUrl },
    operations: lateCaller(late),
    standing: lateCaller(late),
    principals: parts.people,
    windows: parts.windows,
    freezes: parts.calendars,
    isCalendarOpen: (account, now) => !parts.calendars.isAnyClosed(account, now),
    sealer: secrets.sealerFor(sealedInputs),
    linkMac: secrets.macFor("answer links"),
    membersUrl: options.membersUrl ?? options.publicUrl,
    configurationChanged: parts.configurationChanged,
    signingKey: parts.signingKey,
  })
  const catalog = createCatalogService({
    ...{ database, clock, random, logger, notifier },
    principals: parts.people,
    sealer: secrets.sealerFor(sealedOutputs),
  })
  const triggers = createTriggersService({
    ...{ database, clock, random, logger, notifier, publicUrl: options.publicUrl, metrics: parts.metrics },
    operations: lateCaller(late),
    sealer: secrets.sealerFor(sealedHookSecrets),
    configurationChanged: parts.configurationChanged,
  })
  const rules = createRulesService({
    ...{ database, clock, random, logger, operations: given.operations, expanders: parts.expanders },
    ...{ caller: lateCaller(late), principals: parts.people, configurationChanged: parts.configurationChanged },
  })
  const actions = createActionsService({
    ...{ database, clock, random, logger, eventsWritten, publicUrl: options.publicUrl, principals: parts.people },
    ...{ rules: rules.matcher, operations: lateCaller(late), standing: lateCaller(late) },
  })
  const outer = [notifications.service, approvals.service, catalog, triggers.service, rules.service, actions]
  return { approvals, triggers, rules, outer }
}

function lateExternal(late: LateParts): Pick<ExternalServices, "list"> {
  return { list: (account) => late.external?.list(account) ?? [] }
}

function lateCaller(late: {
  readonly router?: Router
}): OperationCaller & StandingCaller & StandingRecord & CallPlanner {
  const router = (): Router => {
    assert(late.router !== undefined, "the router is made before the first call")
    return late.router
  }
  return {
    call: (operation, input, as) => router().call(operation, input, as),
    callStanding: (call) => router().callStanding(call),
    findStandingChange: (sql, call) => router().findStandingChange(sql, call),
    findStandingReply: (sql, call) => router().findStandingReply(sql, call),
    planCall: (call) => router().planCall(call),
  }
}

/** Starts background work and services; gives what stops them in the opposite order. */
async function startParts(
  options: CompositionOptions,
  services: readonly Service[],
  parts: {
    readonly watcher: ConfigurationWatcher
    readonly expanders: ReadonlyMap<string, Expander>
    readonly egress: Egress
    readonly notifier: Notifier
    readonly signingKeyId: string
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
    return stop
  } catch (error) {
    await stop()
    throw error
  }
}
