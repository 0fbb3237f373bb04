/** The proxies that ours is measured beside: as their own documents write them. */
import { createServer } from "node:http"
import { Pool } from "undici"

const [kind = "", portText = "", upstream = ""] = process.argv.slice(2)
const port = Number(portText)

if (kind === "undici") {
  const pool = new Pool(upstream, { connections: 256 })
  createServer((request, response) => {
    const { host: _, connection: __, ...headers } = request.headers
    const hasBody = headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined
    pool.stream(
      {
        path: request.url ?? "/",
        method: request.method ?? "GET",
        headers,
        body: hasBody ? request : null,
      },
      ({ statusCode, headers: received }) => {
        const { connection: ___, "keep-alive": ____, "transfer-encoding": _____, ...rest } = received
        return response.writeHead(statusCode, rest)
      },
      (error) => {
        if (!error) return
        if (!response.headersSent) response.writeHead(502)
        response.end()
      },
    )
  }).listen(port, "127.0.0.1")
}

if (kind === "fastify") {
  const { fastify } = await import("fastify")
  const { default: proxy } = await import("@fastify/http-proxy")
  const app = fastify()
  await app.register(proxy, { upstream })
  await app.listen({ host: "127.0.0.1", port })
}

if (kind === "middleware") {
  const { createProxyMiddleware } = await import("http-proxy-middleware")
  const { Agent } = await import("node:http")
  const proxy = createProxyMiddleware({ target: upstream, agent: new Agent({ keepAlive: true, maxSockets: 256 }) })
  createServer((request, response) => {
    void proxy(request, response, () => response.writeHead(404).end())
  }).listen(port, "127.0.0.1")
}
