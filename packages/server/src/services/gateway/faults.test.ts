import { once } from "node:events"
import { request as httpRequest, type IncomingMessage } from "node:http"
import { createServer, type Server, type Socket } from "node:net"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { parseHostRule } from "../../egress/host-rule.ts"
import { startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"
import { listen, register, startUpstream, type TestUpstream } from "./gateway.fixture.ts"

let server: ServerFixture
let key: string
let good: TestUpstream
/** What `rebinding.example` means at the moment. */
let address = "127.0.0.1"
const bad: Server[] = []
const sockets = new Set<Socket>()

beforeAll(async () => {
  const rule = parseHostRule("127.0.0.1")
  server = await startServerFixture({
    egress: { allow: rule ? [rule] : [], privateAllowed: false, resolve: () => Promise.resolve([address]) },
  })
  key = server.platformKey
  good = await startUpstream((request, response) => {
    request.resume()
    request.on("end", () => response.end(JSON.stringify({ url: request.url, headers: request.headers })))
  })
})

beforeEach(() => {
  good.requests.length = 0
})

afterAll(async () => {
  await server.stop()
  await good.stop()
  for (const socket of sockets) socket.destroy()
  for (const each of bad) each.close()
})

/** An upstream that does what it likes with each connection. */
async function badUpstream(onRequest: (socket: Socket, text: string) => void): Promise<string> {
  const each = createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => undefined)
    socket.on("data", (chunk: Buffer) => onRequest(socket, chunk.toString()))
  })
  bad.push(each)
  return `http://127.0.0.1:${await listen(each)}`
}

async function pass(path: string, init: RequestInit = {}): Promise<{ status: number; text: string }> {
  const headers = { authorization: `Bearer ${key}` }
  const response = await fetch(`${server.url}/x/${path}`, { ...init, headers })
  return { status: response.status, text: await response.text() }
}

const codeOf = ({ text }: { text: string }): unknown => (JSON.parse(text) as { code?: string }).code

describe("an upstream that fails", () => {
  test("one that hangs is given up in time, and nothing stays under way", async () => {
    const url = await badUpstream(() => undefined)
    await register(server, key, { name: "hangs", urls: [url], timeouts: { headers: "1s" }, retries: 0 })
    expect(codeOf(await pass("hangs/things"))).toBe("gateway.upstream-timeout")
    await register(server, key, { name: "hangs-in-all", urls: [url], timeouts: { total: "1s" }, retries: 0 })
    expect(codeOf(await pass("hangs-in-all/things", { method: "POST", body: "{}" }))).toBe("gateway.upstream-timeout")
  })

  test("a change whose connection breaks is not sent again; a read is, to another base URL", async () => {
    let broken = 0
    const url = await badUpstream((socket) => {
      broken++
      socket.destroy()
    })
    await register(server, key, { name: "breaks", urls: [url] })
    expect(codeOf(await pass("breaks/things", { method: "POST", body: "{}" }))).toBe("gateway.upstream-failed")
    expect(broken).toBe(1)
    await register(server, key, { name: "one-breaks", urls: [url, good.url], balance: "round-robin" })
    for (let n = 0; n < 4; n++) expect((await pass("one-breaks/things")).status).toBe(200)
    expect(good.requests.length).toBe(4)
    expect(broken).toBeGreaterThan(1)
  })

  test("a reply that ends too early, or whose chunks make no sense, is not taken for a whole one", async () => {
    const replies = [
      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ]
    for (const [index, reply] of replies.entries()) {
      const url = await badUpstream((socket) => socket.end(reply))
      await register(server, key, { name: `cut-${index}`, urls: [url], retries: 0 })
      await expect(pass(`cut-${index}/things`)).rejects.toThrow(/terminated|fetch failed/)
    }
  })

  test("what is no HTTP, or has a header that can't be passed on, is told as no reply", async () => {
    const replies = [
      "SSH-2.0-x\r\n",
      "HTTP/1.1 200 OK\r\nX-Bad: a\u0001b\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
    ]
    for (const [index, reply] of replies.entries()) {
      const url = await badUpstream((socket) => socket.end(reply))
      await register(server, key, { name: `odd-${index}`, urls: [url], retries: 0 })
      expect(codeOf(await pass(`odd-${index}/things`)), reply).toBe("gateway.upstream-failed")
    }
  })

  test("silence within a reply ends it", async () => {
    const url = await badUpstream((socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"))
    await register(server, key, { name: "silent", urls: [url], timeouts: { idle: "1s" } })
    await expect(pass("silent/things")).rejects.toThrow(/terminated|fetch failed/)
  })

  test("its circuit opens after failures in a row and closes when it is well again", async () => {
    let isWell = false
    let asked = 0
    const url = await badUpstream((socket) => {
      asked++
      if (isWell) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      else socket.destroy()
    })
    await register(server, key, { name: "ill", urls: [url], retries: 0, breaker: { failures: 3, openFor: "2s" } })
    for (let n = 0; n < 3; n++) expect(codeOf(await pass("ill/things"))).toBe("gateway.upstream-failed")
    await expect.poll(async () => codeOf(await pass("ill/things"))).toBe("gateway.circuit-open")
    const before = asked
    expect(before).toBe(3)
    isWell = true
    await expect.poll(async () => (await pass("ill/things")).status, { timeout: 30_000 }).toBe(200)
  })

  test("one that is restarted is reached again", async () => {
    const first = await startUpstream((_request, response) => response.end("first"))
    await register(server, key, { name: "restarts", urls: [first.url], retries: 0, breaker: { failures: 1000 } })
    expect((await pass("restarts/things")).text).toBe("first")
    await first.stop()
    const answer = await pass("restarts/things")
    expect(answer.status).toBe(503)
    const second = await startUpstream((_request, response) => response.end("second"))
    await second.stop()
    second.server.listen(first.port, "127.0.0.1")
    await once(second.server, "listening")
    await expect.poll(async () => (await pass("restarts/things")).text, { timeout: 30_000 }).toBe("second")
    await second.stop()
  })

  test("health checks take an ill one out and in again", async () => {
    let isWell = false
    const ill = await startUpstream((request, response) => {
      response.writeHead(request.url === "/healthz" && !isWell ? 500 : 200).end("ill")
    })
    const health = { path: "/healthz", every: "1s", unhealthyAfter: 1, healthyAfter: 1 }
    await register(server, key, { name: "checked", urls: [ill.url], health })
    await expect.poll(async () => (await pass("checked/things")).status, { timeout: 30_000 }).toBe(503)
    isWell = true
    await expect.poll(async () => (await pass("checked/things")).status, { timeout: 30_000 }).toBe(200)
    await ill.stop()
  })

  test("a name that means another address by then leads nowhere", async () => {
    address = "127.0.0.1"
    const { port } = good
    await register(server, key, { name: "rebinds", urls: [`http://rebinding.example:${port}`], retries: 0 })
    address = "127.0.0.2"
    expect(codeOf(await pass("rebinds/things"))).toBe("gateway.unreachable")
    address = "127.0.0.1"
    expect((await pass("rebinds/things")).status).toBe(200)
  })
})

describe("a caller that means harm, or fails", () => {
  const head = (): string => `Host: x\r\nAuthorization: Bearer ${key}\r\n`

  test.each([
    ["both lengths", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"],
    ["two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"],
    ["a length that is none", "Content-Length: +5\r\n\r\nhello"],
    ["a folded header", "X-A: 1\r\n 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["a space before the colon", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"],
    ["a coding nobody knows", "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"],
    ["a chunk size that is none", "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"],
    ["a chunk that ends in a bare line feed", "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"],
  ])("%s: refused, and nothing of it is taken for a second request", async (_name, rest) => {
    await register(server, key, { name: "smuggled", urls: [good.url] })
    const second = `GET /x/smuggled/things/smuggled HTTP/1.1\r\n${head()}\r\n`
    const answer = await server.raw(`POST /x/smuggled/things HTTP/1.1\r\n${head()}${rest}${second}`)
    expect(answer).toMatch(/^HTTP\/1\.1 (?:4\d\d|503)/)
    expect(good.requests.map(({ url }) => url)).not.toContain("/things/smuggled")
    expect(good.requests.filter(({ complete }) => complete)).toEqual([])
  })

  test("line breaks in a path reach no header", async () => {
    await register(server, key, { name: "injected", urls: [good.url] })
    const { text } = await pass("injected/things/7%0d%0aX-Injected:%20yes?a=%0d%0aX-Injected:%20yes")
    const told = JSON.parse(text) as { url: string; headers: Record<string, string> }
    expect(told.headers["x-injected"]).toBeUndefined()
    expect(told.url).toContain("%0d%0a")
  })

  test("a body over an operation's limit is refused, announced or not", async () => {
    const operations = { makeThing: { bodyBytesMax: 100 } }
    await register(server, key, { name: "small", urls: [good.url], operations })
    const announced = await pass("small/things", { method: "POST", body: "x".repeat(101) })
    expect(codeOf(announced)).toBe("request.body-too-large")
    const call = callRaw("POST", "small/things")
    call.request.write("x".repeat(60))
    call.request.write("x".repeat(60))
    call.request.end()
    expect((await call.response).statusCode).toBe(413)
    expect((await pass("small/things", { method: "POST", body: "x".repeat(100) })).status).toBe(200)
  })

  test("one that breaks off in its body ends the call at the service", async () => {
    const ended: string[] = []
    const listening = await startUpstream((request) => {
      request.on("error", () => undefined)
      request.resume()
      request.on("close", () => ended.push(request.complete ? "whole" : "broken"))
    })
    await register(server, key, { name: "broken-off", urls: [listening.url] })
    const call = callRaw("POST", "broken-off/things")
    call.response.catch(() => undefined)
    call.request.write(Buffer.alloc(100_000))
    await expect.poll(() => listening.requests.length, { timeout: 30_000 }).toBe(1)
    call.request.destroy()
    await expect.poll(() => ended, { timeout: 30_000 }).toEqual(["broken"])
    await listening.stop()
  })
})

function callRaw(method: string, path: string) {
  const request = httpRequest(`${server.url}/x/${path}`, { method, headers: { authorization: `Bearer ${key}` } })
  const response = once(request, "response").then(([answer]) => answer as IncomingMessage)
  request.on("error", () => undefined)
  return { request, response }
}

describe("much", () => {
  const chunk = Buffer.alloc(256 * 1024, 1)
  const chunks = 1_200
  /** What sockets and streams on the way may hold, and nothing near the whole. */
  const heldBytesMax = 48 * 1024 * 1024

  test("300 MB come down as fast as the caller takes them, and no faster", async () => {
    let written = 0
    const source = await startUpstream((_request, response) => {
      const write = (): void => {
        while (written < chunks) {
          written++
          if (!response.write(chunk)) return void response.once("drain", write)
        }
        response.end()
      }
      write()
    })
    await register(server, key, { name: "down", urls: [source.url] })
    const call = callRaw("GET", "down/things")
    call.request.end()
    const response = await call.response
    await untilStill(() => written)
    expect(written * chunk.length).toBeLessThan(heldBytesMax)
    let bytes = 0
    response.on("data", (data: Buffer) => (bytes += data.length))
    await once(response, "end")
    expect(bytes).toBe(chunks * chunk.length)
    await source.stop()
  })

  test("300 MB go up as fast as the service takes them, and no faster", async () => {
    let bytes = 0
    let take: () => void = () => undefined
    const sink = await startUpstream((request, response) => {
      take = () => {
        request.on("data", (data: Buffer) => (bytes += data.length))
        request.on("end", () => response.end("taken"))
      }
    })
    await register(server, key, { name: "up", urls: [sink.url] })
    const call = callRaw("POST", "up/things")
    let written = 0
    const write = (): void => {
      while (written < chunks) {
        written++
        if (!call.request.write(chunk)) return void call.request.once("drain", write)
      }
      call.request.end()
    }
    write()
    await expect.poll(() => sink.requests.length, { timeout: 30_000 }).toBe(1)
    await untilStill(() => written)
    expect(written * chunk.length).toBeLessThan(heldBytesMax)
    take()
    expect((await call.response).statusCode).toBe(200)
    expect(bytes).toBe(chunks * chunk.length)
    await sink.stop()
  })

  test("1,000 calls at once each get their own answer", async () => {
    await register(server, key, { name: "many", urls: [good.url] })
    const answers = await Promise.all(Array.from({ length: 1_000 }, (_, n) => pass(`many/things/${n}`)))
    const urls = answers.map(({ status, text }) => [status, (JSON.parse(text) as { url: string }).url])
    expect(urls).toEqual(Array.from({ length: 1_000 }, (_, n) => [200, `/things/${n}`]))
  })
})

/** Resolves when a count has stopped growing for several looks in a row. */
async function untilStill(count: () => number): Promise<void> {
  let before = -1
  let same = 0
  while (same < 10) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    same = count() === before && before > 0 ? same + 1 : 0
    before = count()
  }
}
