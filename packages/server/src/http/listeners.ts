import { isIPv6, type AddressInfo } from "node:net"
import { hostname } from "node:os"
import { roles } from "@signalbox/contracts/identity/roles"
import type { AnyOperation } from "@signalbox/contracts/operation"
import type { FastifyInstance } from "fastify"
import type { ListenerSettings } from "../settings.ts"
import { createEdge, createMembersEdge, type EdgeOptions } from "./edge.ts"

/**
 * The listeners beside the one for administrators and nodes (A17): backends inside, members outside. Each has its own
 * address and certificate, and everything that is not its business is a 404 there.
 */
export interface PlannedListener {
  readonly host: string
  readonly port: number
  readonly url: string
  readonly tls: EdgeOptions["tls"]
}

/** Where a listener will be: its port has to be known before the services start, since their links carry it. */
export async function planListener(
  { host, port, url, tls }: ListenerSettings,
  ownTls: EdgeOptions["tls"],
): Promise<PlannedListener> {
  const chosen = port === 0 ? await findFreePort(host) : port
  const used = tls ?? ownTls
  const own = `${used ? "https" : "http"}://${urlHost(host)}:${chosen}`
  return { host, port: chosen, url: (url ?? own).replace(/\/$/, ""), tls: used }
}

export async function openMembersListener(
  planned: PlannedListener,
  options: Omit<EdgeOptions, "tls" | "operations" | "documents">,
): Promise<FastifyInstance> {
  const { host, port, tls } = planned
  const edge = await createMembersEdge({ ...options, ...(tls && { tls }) })
  await edge.listen({ host, port })
  return edge
}

export async function openBackendsListener(planned: PlannedListener, options: EdgeOptions): Promise<FastifyInstance> {
  const { host, port, tls } = planned
  const { tls: _, receiver: _receiver, ...rest } = options
  const edge = await createEdge({
    ...rest,
    ...(tls && { tls }),
    operations: operationsOfBackends(options.operations),
    documents: new Map([...options.documents].filter(([path]) => openDocuments.has(path))),
    onlyThese: true,
    answerPages: false,
  })
  await edge.listen({ host, port })
  return edge
}

const openDocuments: ReadonlySet<string> = new Set(["/healthz", "/readyz", "/v1/ca.pem"])

/** What a backend's or job server's key may call at all. */
export function operationsOfBackends(operations: EdgeOptions["operations"]): ReadonlyMap<string, AnyOperation> {
  const permitted: ReadonlySet<string> = new Set([...roles.backend, ...roles["job-server"]])
  return new Map([...operations].filter(([, { permission }]) => permitted.has(permission)))
}

export async function findFreePort(host: string): Promise<number> {
  const { createServer } = await import("node:net")
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once("error", reject)
    probe.listen(0, host, () => {
      const { port } = probe.address() as AddressInfo
      probe.close(() => resolve(port))
    })
  })
}

export function urlHost(host: string): string {
  if (host === "0.0.0.0" || host === "::") return hostname()
  return isIPv6(host) ? `[${host}]` : host
}
