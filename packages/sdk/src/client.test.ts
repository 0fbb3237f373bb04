import { eventsList, eventsWatch } from "@signalbox/contracts/audit/operations"
import { groupsRemove, nodesGet } from "@signalbox/contracts/fleet/operations"
import { executionsWatch } from "@signalbox/contracts/workflows/operations"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, expect, test } from "vitest"
import { type Client, createClient } from "./client.ts"

// The other end here is a server that misbehaves in ways that the real one can't be made to.
type Answer = (request: IncomingMessage, response: ServerResponse) => void

const closers: Array<() => Promise<void>> = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

async function serve(...answers: Answer[]): Promise<{ client: Client; requests: IncomingMessage[] }> {
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    const answer = answers[Math.min(requests.length, answers.length - 1)]
    requests.push(request)
    answer?.(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const client = createClient({ url, key: "sbx_test" })
  closers.push(async () => {
    await client.close()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return { client, requests }
}

const json =
  (value: unknown, status = 200, headers = {}): Answer =>
  (_, response) =>
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value))
const cut: Answer = (request) => request.socket.destroy()
const stream =
  (text: string, then: "end" | "cut"): Answer =>
  (request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" })
    response.write(text, () => (then === "end" ? response.end() : request.socket.destroy()))
  }

test("a read returns the output and sends the key", async () => {
  const { client, requests } = await serve(json({ id: "nod_1" }))
  expect(await client.call(nodesGet, { node: "web-1" })).toEqual({ id: "nod_1" })
  expect(requests[0]?.headers.authorization).toBe("Bearer sbx_test")
  expect(requests[0]?.headers["idempotency-key"]).toBeUndefined()
})

test("a route stands for its operation, and a closed client sends nothing", async () => {
  const { client, requests } = await serve(json({ id: "nod_1" }))
  const route = { name: "nodes.get", method: "GET", path: "/v1/nodes/{node}", effect: "read" } as const
  expect(await client.call<typeof nodesGet>(route, { node: "web-1" })).toEqual({ id: "nod_1" })
  expect(requests[0]?.url).toBe("/v1/nodes/web-1")
  await client.close()
  await expect(client.call(nodesGet, { node: "web-1" })).rejects.toThrow("is closed")
  expect(requests).toHaveLength(1)
})

test("a change returns done, or held with the place of the request", async () => {
  const { client } = await serve(json({ name: "g" }), json({ requestUrl: "/v1/requests/1" }, 202))
  expect(await client.call(groupsRemove, { name: "g" })).toEqual({ status: "done", value: { name: "g" } })
  expect(await client.call(groupsRemove, { name: "g" })).toEqual({ status: "held", requestUrl: "/v1/requests/1" })
})

test("a change is repeated with the same Idempotency-Key when the connection or the server fails", async () => {
  const busy = { code: "request.idempotency-in-flight", detail: "still running", status: 409 }
  const { client, requests } = await serve(cut, json(busy, 409), json({ name: "g" }))
  expect(await client.call(groupsRemove, { name: "g" })).toMatchObject({ status: "done" })
  const keys = requests.map((request) => request.headers["idempotency-key"])
  expect(keys).toHaveLength(3)
  expect(new Set(keys).size).toBe(1)
  expect(keys[0]).toMatch(/^.{8,128}$/)
})

test("a refusal is not repeated and keeps code, issues and request id", async () => {
  const issues = [{ path: "query", message: "no such term", line: 1 }]
  const problem = { code: "fleet.invalid-tag-query", detail: "bad query", status: 400, issues, requestId: "req_1" }
  const { client, requests } = await serve(json(problem, 400))
  await expect(client.call(nodesGet, { node: "a" })).rejects.toMatchObject({
    code: "fleet.invalid-tag-query",
    message: "bad query",
    issues,
    details: { requestId: "req_1" },
  })
  expect(requests).toHaveLength(1)
})

test("retries are bounded", async () => {
  const { client, requests } = await serve(cut)
  await expect(client.call(nodesGet, { node: "a" })).rejects.toMatchObject({ code: "cli.no-server" })
  expect(requests).toHaveLength(6)
})

test("a code of a newer server keeps its text", async () => {
  const { client } = await serve(json({ code: "moon.too-far", detail: "the moon is too far" }, 400))
  await expect(client.call(nodesGet, { node: "a" })).rejects.toMatchObject({
    code: "request.internal",
    message: "the moon is too far",
    details: { code: "moon.too-far" },
  })
})

test("something that is no Signalbox server is told as such", async () => {
  const { client } = await serve((_, response) => response.writeHead(404).end("<h1>Not here</h1>"))
  await expect(client.call(nodesGet, { node: "a" })).rejects.toThrow(/is it a Signalbox server/)
})

test("a server that isn't there is told at once", async () => {
  const { client } = await serve(json({}))
  for (const close of closers.splice(0)) await close()
  const other = createClient({ url: client.url })
  await expect(other.call(nodesGet, { node: "a" })).rejects.toMatchObject({ code: "cli.no-server" })
  await expect(other.watch(eventsWatch, {}).next()).rejects.toMatchObject({ code: "cli.no-server" })
  await other.close()
})

test("a call ends when its signal says so", async () => {
  const { client } = await serve(() => undefined)
  await expect(client.call(nodesGet, { node: "a" }, { signal: AbortSignal.timeout(50) })).rejects.toThrow(/aborted/)
})

test("pages follows the cursors, and refuses a server that goes in circles", async () => {
  const first = json({ items: [1], nextCursor: "a" })
  const { client, requests } = await serve(first, json({ items: [2] }))
  const pages = await Array.fromAsync(client.pages(eventsList, { type: "x" }))
  expect(pages.map((page) => page.items)).toEqual([[1], [2]])
  expect(requests.map((request) => request.url)).toEqual(["/v1/events?type=x", "/v1/events?type=x&cursor=a"])
  const circle = await serve(first)
  await expect(Array.fromAsync(circle.client.pages(eventsList, {}))).rejects.toThrow(/same page cursor/)
})

test("a watch resumes after the last message, whether the stream was cut or ended", async () => {
  const { client, requests } = await serve(
    stream('id: a\ndata: {"n":1}\n\n', "cut"),
    stream('id: b\ndata: {"n":2}\n\n', "end"),
    json({ code: "request.shutting-down", detail: "stopping" }, 503),
    stream('id: c\ndata: {"n":3}\n\nevent: end\ndata: {}\n\n', "end"),
  )
  const lost: string[] = []
  const items = await Array.fromAsync(client.watch(eventsWatch, {}, { onLost: (error) => lost.push(error.code) }))
  expect(items.map((item) => item.data)).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
  expect(requests.map((request) => request.headers["last-event-id"])).toEqual([undefined, "a", "b", "b"])
  expect(lost).toEqual(["cli.no-server", "cli.no-server", "request.shutting-down"])
})

test("a watch ends where the server ends it after a last message, and at a refusal", async () => {
  const { client } = await serve(
    stream('data: {"n":1}\n\n', "cut"),
    stream('data: {"n":1}\n\ndata: {"n":1,"late":true}\n\n', "end"),
    json({ code: "events.position-expired", detail: "too old" }, 422),
  )
  const isLast = (data: unknown) => (data as { n: number }).n === 1
  const items = await Array.fromAsync(client.watch(eventsWatch, {}, { isLast }))
  expect(items.map((item) => item.data)).toEqual([{ n: 1 }, { n: 1 }, { n: 1, late: true }])
  await expect(client.watch(eventsWatch, {}).next()).rejects.toMatchObject({ code: "events.position-expired" })
})

test("a stream without a cursor is sought again without a position", async () => {
  const finished = stream('id: 2\ndata: {"execution":{"state":"succeeded"}}\n\n', "end")
  const { client, requests } = await serve(stream('id: 1\ndata: {"execution":{}}\n\n', "cut"), finished)
  const isLast = ({ execution }: { execution: { state: string } }) => execution.state === "succeeded"
  await Array.fromAsync(client.watch(executionsWatch, { execution: "exe_1" }, { isLast }))
  expect(requests.map((request) => request.headers["last-event-id"])).toEqual([undefined, undefined])
})
