import { once } from "node:events"
import { afterAll, beforeAll, expect, test } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { parseHostRule } from "../../egress/host-rule.ts"
import { startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"
import { register, startUpstream, type TestUpstream } from "./gateway.fixture.ts"

let server: ServerFixture
let upstream: TestUpstream
let sockets: WebSocketServer
let key: string

beforeAll(async () => {
  const rule = parseHostRule("127.0.0.1")
  server = await startServerFixture({ egress: { allow: rule ? [rule] : [], privateAllowed: false } })
  key = server.platformKey
  upstream = await startUpstream((request, response) => {
    if (request.url !== "/stream") return void response.writeHead(404).end("no such thing")
    response.writeHead(200, { "content-type": "text/event-stream" })
    response.flushHeaders()
    events.push((text) => response.write(text))
  })
  sockets = new WebSocketServer({ noServer: true })
  upstream.server.on("upgrade", (request, socket, head) => {
    if (request.url === "/things/refused")
      return void socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    sockets.handleUpgrade(request, socket, head, (ws) => {
      ws.on("message", (data: Buffer, isBinary) =>
        ws.send(isBinary ? data : `${String(request.url)} ${data.toString()}`, { binary: isBinary }),
      )
      ws.on("close", () => closed.push(true))
    })
  })
  await register(server, key, { name: "live", urls: [upstream.url] })
})

afterAll(async () => {
  sockets.close()
  await server.stop()
  await upstream.stop()
})

const events: Array<(text: string) => void> = []
const closed: boolean[] = []

function open(path: string): WebSocket {
  const url = `${server.url.replace("http", "ws")}/x/live/${path}`
  return new WebSocket(url, { headers: { authorization: `Bearer ${key}` } })
}

test("a WebSocket goes both ways, texts and bytes, and its end comes through", async () => {
  const socket = open("things/7?x=1")
  await once(socket, "open")
  const answers: unknown[] = []
  socket.on("message", (data: Buffer, isBinary) => answers.push(isBinary ? data.length : data.toString()))
  socket.send("hello")
  const large = Buffer.alloc(3_000_000, 7)
  socket.send(large)
  await expect.poll(() => answers, { timeout: 30_000 }).toEqual(["/things/7?x=1 hello", large.length])
  const before = closed.length
  socket.close()
  await expect.poll(() => closed.length, { timeout: 30_000 }).toBe(before + 1)
  await expect
    .poll(async () => (await server.call(key, "GET", "/v1/services/live:check")).body, { timeout: 30_000 })
    .toMatchObject({ upstreams: [{ pending: 0 }] })
})

test("a service that refuses the upgrade is heard, and so is Signalbox", async () => {
  const refused = open("things/refused")
  const [, response] = (await once(refused, "unexpected-response")) as [unknown, { statusCode: number }]
  expect(response.statusCode).toBe(403)
  const unknown = new WebSocket(`${server.url.replace("http", "ws")}/x/live/things/7`)
  const [, answer] = (await once(unknown, "unexpected-response")) as [unknown, { statusCode: number }]
  expect(answer.statusCode).toBe(401)
})

test("the agents' WebSockets still reach the web framework", async () => {
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/v1/sessions`, {
    headers: { authorization: "Bearer x" },
  })
  const [, answer] = (await once(socket, "unexpected-response")) as [unknown, { statusCode: number }]
  expect([400, 401, 404]).toContain(answer.statusCode)
})

test("server-sent events come as they are sent, and a caller that goes ends the call", async () => {
  const controller = new AbortController()
  const response = await fetch(`${server.url}/x/live/stream`, {
    headers: { authorization: `Bearer ${key}` },
    signal: controller.signal,
  })
  expect(response.headers.get("content-type")).toBe("text/event-stream")
  const reader = response.body?.getReader()
  const send = events.at(-1)
  send?.("data: one\n\n")
  expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("data: one\n\n")
  send?.("data: two\n\n")
  expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("data: two\n\n")
  const request = upstream.requests.at(-1)
  const gone = request && once(request.socket, "close")
  controller.abort()
  await gone
})
