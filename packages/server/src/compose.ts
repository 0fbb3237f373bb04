import { operations as declarations } from "@signalbox/contracts/operations"
import type { AnyOperation } from "@signalbox/contracts/operation"
import { createEgress } from "./egress/egress.ts"
import type { ExternalServices } from "./router/external-ports.ts"
import type { CallReceiver } from "./router/forwarded-call.ts"
import { createRouter, type Router } from "./router/router.ts"
import { createArtifactsService } from "./services/artifacts/service.ts"
import { createGatewayService } from "./services/gateway/service.ts"
import { sealedRelay } from "./services/fleet/service.ts"
import { bootstrapIdentity } from "./services/identity/service.ts"
import { createMeteringService } from "./services/metering/service.ts"
import { createCallWire, makeFirstMap } from "./services/routing/service.ts"
import { createSecretsService } from "./services/secrets/service.ts"
import { watchConfiguration, type ConfigurationWatcher } from "./storage/configuration-versions.ts"
import { createBlobs } from "./storage/blobs.ts"
import { Notifier } from "./storage/notifier.ts"
import { makeServices } from "./composition/inner-services.ts"
import type { CompositionOptions } from "./composition/options.ts"
import { makeOuterServices } from "./composition/outer-services.ts"
import { startParts } from "./composition/start-parts.ts"

/**
 * The composition root: the only place, with the folder beside it, that constructs services and joins their ports. A new
 * service is made in `composition/outer-services.ts`, and its port takes the place of the null port.
 */
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
    ...{ database, clock, random, logger, egress, serverId: options.serverId },
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
    rules: rules.matcher,
    gates: approvals.gates,
    elsewhere: { remote: wire.remote, guards: approvals.guards, rules: wire.rules },
    uses: metering.uses,
    external: gateway.external,
    markSecretInput: secrets.markInput,
  })
  Object.assign(late, { router, watcher, external: gateway.external })
  const stop = await startParts(options, services, {
    ...{ watcher, expanders, egress, notifier, table: parts.table },
    signingKeyId: parts.signingKey.keyId,
  })
  return { router, receiver: wire.receiver, operations, stop }
}
