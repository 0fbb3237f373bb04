/** All that goes between the servers of one installation about nodes: orders, health checks, sessions that are over. */
import type { CronTask } from "../../storage/background-queue.ts"
import type { OlderSession } from "./directory-store.ts"
import { OrderRelay, type OrderRelayParts } from "./order-relay.ts"
import type { FleetParts } from "./parts.ts"
import { ProbeRelay } from "./probe-relay.ts"
import { removeLate } from "./relay-store.ts"
import type { SessionRegistry } from "./session-registry.ts"

const replacedChannel = "agent_sessions"
const closedChannel = "agent_closed"

type CloseCode = Parameters<SessionRegistry["closeNode"]>[1]

export class FleetRelay {
  readonly orders: OrderRelay
  readonly probes: ProbeRelay
  readonly #notifier: OrderRelayParts["notifier"]
  readonly #unsubscribe: Array<() => void> = []

  constructor(parts: FleetParts & Pick<OrderRelayParts, "sealer" | "notifier" | "serverId">) {
    const relayed = { ...parts, sql: parts.database }
    this.orders = new OrderRelay(relayed)
    this.probes = new ProbeRelay(relayed)
    this.#notifier = parts.notifier
  }

  /** What a lost notice would have told is found with the session's next sign of life. */
  start(sessions: Pick<SessionRegistry, "replaced" | "closeNode">): void {
    this.orders.start()
    this.probes.start()
    this.#unsubscribe.push(
      this.#notifier.subscribe(replacedChannel, (notices) => {
        for (const [nodeId = "", sessionId = ""] of wordsOf(notices)) sessions.replaced(nodeId, sessionId)
      }),
      this.#notifier.subscribe(closedChannel, (notices) => {
        for (const [nodeId = "", code] of wordsOf(notices)) sessions.closeNode(nodeId, code as CloseCode)
      }),
    )
  }

  async stop(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
    await this.probes.stop()
    await this.orders.stop()
  }

  /** Tells the servers that hold them of sessions that have a newer one here. */
  replaced(older: readonly OlderSession[]): void {
    for (const { nodeId, sessionId } of older) this.#notifier.notify(replacedChannel, `${nodeId} ${sessionId}`)
  }

  /** Tells the other servers to end a node's sessions. */
  closeNode(nodeId: string, code: CloseCode): void {
    this.#notifier.notify(closedChannel, `${nodeId} ${code}`)
  }
}

function wordsOf(notices: readonly string[] | "missed"): string[][] {
  return notices === "missed" ? [] : notices.map((notice) => notice.split(" "))
}

const rowsRemovedMax = 5_000

/** Removes orders and health checks that are too late to be carried. */
export const relayRetention: CronTask = {
  name: "fleet.relay-retention",
  cron: "*/10 * * * *",
  async run({ database, signal }) {
    while (!signal.aborted && (await removeLate(database, rowsRemovedMax)) >= rowsRemovedMax);
  },
}
