/** What the approvals benchmark stands on: members with channels of their own, a template, a service that receives. */
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { callerOf, type ServerProcess } from "../server-process.ts"

export interface Received {
  readonly type: string
  readonly subject: string
}

/** Takes what the server sends, and tells who waits for so many messages about a request. */
export class Receiver {
  url = ""
  count = 0
  readonly #server: Server
  readonly #seen = new Map<string, { count: number; type: string }>()
  readonly #waiting = new Map<string, { wanted: number; resolve: () => void }>()

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("end", () => {
        response.writeHead(204).end()
        this.#take(JSON.parse(Buffer.concat(chunks).toString()) as Received)
      })
    })
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve))
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`
  }

  /** Resolves when so many messages about a request have come. */
  async until(request: string, wanted: number): Promise<void> {
    if ((this.#seen.get(request)?.count ?? 0) >= wanted) return
    await new Promise<void>((resolve) => void this.#waiting.set(request, { wanted, resolve }))
  }

  forget(request: string): void {
    this.#seen.delete(request)
    this.#waiting.delete(request)
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #take({ subject, type }: Received): void {
    this.count += 1
    const count = (this.#seen.get(subject)?.count ?? 0) + 1
    this.#seen.set(subject, { count, type })
    const waiting = this.#waiting.get(subject)
    if (waiting === undefined || count < waiting.wanted) return
    this.#waiting.delete(subject)
    waiting.resolve()
  }
}

export interface Callers {
  readonly backend: string
  readonly voters: readonly string[]
}

const signingKey = `whsec_${Buffer.alloc(32, 3).toString("base64")}`

/** For each client a group of the two voters with channels of its own, and an association that names it. */
export async function prepare(server: ServerProcess, receiver: Receiver, clients: number): Promise<Callers> {
  const { call, close } = callerOf(server)
  const key = async (name: string, role: string): Promise<{ id: string; key: string }> =>
    await call("keys.create", { name, roles: [role] })
  const backend = await key("shop", "backend")
  const voters = [await key("ada", "approver"), await key("ben", "approver")]
  await call("secrets.put", { name: "hook-key", value: signingKey })
  for (let client = 0; client < clients; client++) {
    for (const name of ["ada", "ben", "shop"]) {
      const channel = { name: `${name}-${client}`, via: "webhook", url: receiver.url, signingSecret: "hook-key" }
      await call("channels.apply", channel)
    }
    const members = voters.map(({ id }, index) => ({
      principal: `key:${id}`,
      channel: `${index === 0 ? "ada" : "ben"}-${client}`,
    }))
    await call("approval-groups.apply", { name: `group-${client}`, members })
  }
  const levels = [{ name: "only", group: "group-0", strategy: { kind: "all" } }]
  await call("templates.apply", { name: "two", levels })
  for (let client = 0; client < clients; client++) {
    const selector = { type: "purchase", project: `project-${client}` }
    const groups = { only: `group-${client}` }
    await call("associations.apply", { name: `association-${client}`, template: "two", selector, groups })
  }
  await close()
  return { backend: backend.key, voters: voters.map((voter) => voter.key) }
}
