import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { createServer as createTlsServer } from "node:https"
import { connect, type AddressInfo, type Socket } from "node:net"

/** A reverse proxy that knows nothing of WebSockets, as there are many; it loses replies where a test wants it to. */
export class CuttingProxy {
  readonly #target: URL
  #http: Server | undefined
  readonly #sockets = new Set<Socket>()
  port = 0
  /** While true, upgrades get through; else they end without a word. */
  upgrades = false
  cut = 0
  exchanges = 0
  lost = 0
  /** Asked with each answered exchange: true keeps the answer from the agent, after the server has acted on the call. */
  loses: (frames: readonly { type: string }[]) => boolean = () => false

  readonly #tls: { readonly cert: string; readonly key: string } | undefined

  constructor(target: string, tls?: { readonly cert: string; readonly key: string }) {
    this.#target = new URL(target)
    this.#tls = tls
  }

  get url(): string {
    return `${this.#tls ? "https" : "http"}://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    const answer = (call: IncomingMessage, reply: ServerResponse) => void this.#forward(call, reply)
    const http = this.#tls ? createTlsServer(this.#tls, answer) : createServer(answer)
    http.on("connection", (socket) => {
      this.#sockets.add(socket)
      socket.once("close", () => this.#sockets.delete(socket))
    })
    http.on("upgrade", (call, socket, head) => this.#upgrade(call, socket as Socket, head))
    const { promise, resolve } = Promise.withResolvers<void>()
    http.listen(this.port, "127.0.0.1", resolve)
    await promise
    this.#http = http
    this.port = (http.address() as AddressInfo).port
  }

  /** As its death: every connection ends. The port stays the same for a later `start`. */
  async stop(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#http?.close(() => resolve())
    for (const socket of this.#sockets) socket.destroy()
    await promise
  }

  async #forward(call: IncomingMessage, reply: ServerResponse): Promise<void> {
    const isExchange = call.url === "/v1/sessions:exchange" && call.headers.authorization !== undefined
    const chunks: Buffer[] = []
    for await (const chunk of call) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    const upstream = request(new URL(call.url ?? "/", this.#target), { method: call.method, headers: call.headers })
    upstream.on("error", () => reply.destroy())
    reply.on("close", () => upstream.destroy())
    upstream.on("response", (answer) => {
      if (isExchange) this.exchanges += 1
      if (isExchange && this.loses(framesOf(body))) {
        this.lost += 1
        return reply.destroy()
      }
      reply.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(reply)
    })
    upstream.end(body)
  }

  #upgrade(call: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on("error", () => socket.destroy())
    if (!this.upgrades) {
      this.cut += 1
      return void socket.destroy()
    }
    const upstream = request(new URL(call.url ?? "/", this.#target), { method: call.method, headers: call.headers })
    upstream.on("error", () => socket.destroy())
    upstream.on("upgrade", (answer, far: Socket, first: Buffer) => {
      const headers = Object.entries(answer.headers).map(([name, value]) => `${name}: ${String(value)}\r\n`)
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${headers.join("")}\r\n`)
      socket.write(first)
      far.write(head)
      far.on("error", () => socket.destroy())
      far.pipe(socket).pipe(far)
    })
    upstream.end()
  }
}

function framesOf(body: Buffer): Array<{ type: string }> {
  const { frames } = JSON.parse(body.toString("utf8")) as { frames: string[] }
  return frames.map((text) => JSON.parse(text) as { type: string })
}

/** A forward proxy, as HTTPS_PROXY names one: it knows where a connection goes, not what it says. */
export async function startForwardProxy(): Promise<{ url: string; connects: string[]; stop(): void }> {
  const connects: string[] = []
  const http = createServer()
  http.on("connect", (call, client) => {
    connects.push(call.url ?? "")
    const [host, port] = (call.url ?? "").split(":")
    const upstream = connect(Number(port), host, () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n")
      upstream.pipe(client).pipe(upstream)
    })
    upstream.on("error", () => client.destroy())
    client.on("error", () => upstream.destroy())
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  http.listen(0, "127.0.0.1", resolve)
  await promise
  const { port } = http.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, connects, stop: () => void http.close() }
}
