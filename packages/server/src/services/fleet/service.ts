import { sessionsExchange, sessionsOpen } from "@signalbox/contracts/fleet/operations"
import { AppError } from "@signalbox/kernel/app-error"
import { newId } from "@signalbox/kernel/id"
import { onRead, onSession, type Caller, type Handler, type Service } from "../../router/handler.ts"
import type { NodeMetrics } from "../../router/node-metrics.ts"
import type { Authenticator, Executor, NodeProbes, Sealer } from "../../router/ports.ts"
import type { Notifier } from "../../storage/notifier.ts"
import { createAgentAuthenticator } from "./agent-authenticator.ts"
import { createFleetBackground } from "./background.ts"
import { createEnrollmentAuthenticator } from "./enrollment-authenticator.ts"
import { enrollmentKeysRetention } from "./enrollment-key-store.ts"
import { FleetRelay, relayRetention } from "./fleet-relay.ts"
import { fleetHandlers } from "./handlers.ts"
import { InventoryRecorder } from "./inventory-recorder.ts"
import { SessionProbes } from "./node-probes.ts"
import type { FleetParts } from "./parts.ts"
import { Presence, presenceLimits } from "./presence.ts"
import { SessionExchanges } from "./session-exchanges.ts"
import { SessionExecutor } from "./session-executor.ts"
import { SessionMetrics } from "./session-metrics.ts"
import { SessionRegistry } from "./session-registry.ts"
import { SocketChannel } from "./socket-channel.ts"

export { sealedRelay } from "./sealed-relay.ts"

export interface FleetOptions extends FleetParts {
  /** This process of the server. */
  readonly serverId: string
  /** No other server can use this database. */
  readonly isOnlyServer?: boolean
  /** How servers of one installation reach each other's nodes; left out where there are no others. */
  readonly between?: { readonly notifier: Notifier; readonly sealer: Sealer } | undefined
  /** SHA-256 of the own CA in hex; absent on plain HTTP. */
  readonly tls: { readonly caFingerprint?: string }
  /** Where agents reach this server. */
  readonly publicUrl: string
  /** How often presence is written and silence looked for. */
  readonly tickMilliseconds?: number
}

export interface FleetService {
  readonly service: Service
  readonly executor: Executor
  readonly probes: NodeProbes
  readonly metrics: NodeMetrics
  readonly authenticators: readonly Authenticator[]
}

/** Nodes, their enrolment, their sessions, and the way of orders to them. */
export function createFleetService(options: FleetOptions): FleetService {
  const { database, between, clock, random } = options
  const relay = between && new FleetRelay({ ...options, ...between })
  const presence = new Presence({
    ...options,
    isOnlyServer: options.isOnlyServer === true,
    onReplaced: (older) => relay?.replaced(older),
  })
  const sessions = new SessionRegistry(options, presence)
  const inventories = new InventoryRecorder(options)
  const executor = new SessionExecutor(options, sessions, relay?.orders)
  sessions.listen({
    opened: (session) => presence.opened(session),
    closed: (session) => presence.ended(session),
    work: (session, frame) => {
      if (frame.type === "inventory") inventories.record(session, frame.inventory)
    },
  })
  sessions.listen(executor)
  const probes = new SessionProbes({
    find: (nodeId) => sessions.find(nodeId),
    newId: () => newId("request", clock, random),
    relay: relay?.probes,
  })
  const metrics = new SessionMetrics(database, sessions)
  for (const listener of [probes, metrics]) sessions.listen(listener)
  const background = createFleetBackground(options, {
    sessions,
    presence,
    executor,
    tickMilliseconds: options.tickMilliseconds ?? presenceLimits.flushMilliseconds,
  })
  return {
    service: {
      name: "fleet",
      handlers: [
        ...fleetHandlers(
          { ...options, ...(options.tls.caFingerprint ? { caFingerprint: options.tls.caFingerprint } : {}) },
          (nodeId, code) => {
            sessions.closeNode(nodeId, code)
            relay?.closeNode(nodeId, code)
          },
        ),
        openSession(sessions),
        exchangeFrames(new SessionExchanges(sessions)),
      ],
      cronTasks: [relayRetention, enrollmentKeysRetention(() => clock.now())],
      async start() {
        await presence.reset()
        relay?.start(sessions)
        background.start()
      },
      async stop() {
        await background.stop()
        probes.stop()
        sessions.stop()
        await inventories.drain()
        await relay?.stop()
        await presence.stop()
      },
    },
    executor,
    probes,
    metrics,
    authenticators: [createEnrollmentAuthenticator(database), createAgentAuthenticator(database)],
  }
}

function openSession(sessions: SessionRegistry): Handler {
  return onSession(sessionsOpen, (_, { caller, cause }, opened) => {
    sessions.accept(new SocketChannel(opened), { account: caller.account, nodeId: nodeOf(caller), cause })
  })
}

function exchangeFrames(exchanges: SessionExchanges): Handler {
  return onRead(sessionsExchange, (input, { caller, cause, signal }) =>
    exchanges.exchange(input, { caller: { account: caller.account, nodeId: nodeOf(caller), cause }, signal }),
  )
}

function nodeOf(caller: Caller): string {
  const [, nodeId] = /^node:(.+)$/.exec(caller.principal) ?? []
  if (nodeId === undefined) throw new AppError("fleet.agent-identity-refused", "only an agent opens a session")
  return nodeId
}
