import { createServer, type RequestListener, type Server } from "node:http"
import { connect, type AddressInfo } from "node:net"
import { hasCode, isAppError } from "@signalbox/kernel/app-error"
import { afterEach, describe, expect, it } from "vitest"
import { createEgress, type Egress, type EgressOptions } from "./egress.ts"
import { egressLimits } from "./egress-limits.ts"
import { parseHostRule, type HostRule } from "./host-rule.ts"

const closing: Array<() => Promise<unknown> | void> = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

function rules(...texts: string[]): HostRule[] {
  return texts.map(parseHostRule).filter((rule) => rule !== undefined)
}

async function serve(listener: RequestListener, host = "127.0.0.1"): Promise<{ server: Server; port: number }> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  closing.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return { server, port: (server.address() as AddressInfo).port }
}

function egress(options: Partial<EgressOptions> = {}): Egress {
  const made = createEgress({ allow: rules("127.0.0.1"), privateAllowed: true, ...options })
  closing.push(() => made.close())
  return made
}

const get = (url: string) => ({ method: "GET", url, responseBytesMax: 100_000 })

async function codeOf(call: Promise<unknown>): Promise<string | undefined> {
  return call.then(
    () => undefined,
    (error: unknown) => (isAppError(error) ? error.code : String(error)),
  )
}

describe("a call to the outside", () => {
  it("carries method, headers and body, and gives status, headers and body of any answer", async () => {
    const { port } = await serve((request, response) => {
      const chunks: Buffer[] = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("end", () => {
        response.writeHead(418, { "x-seen": `${request.method} ${request.url} ${String(request.headers["x-token"])}` })
        response.end(Buffer.concat(chunks))
      })
    })
    const answer = await egress().request({
      method: "post",
      url: `http://127.0.0.1:${port}/a/b?c=d#fragment`,
      headers: { "X-Token": "t" },
      body: "content",
      responseBytesMax: 1000,
    })
    expect(answer.status).toBe(418)
    expect(answer.headers["x-seen"]).toBe("POST /a/b?c=d t")
    expect(answer.body.toString()).toBe("content")
  })

  it("gives a redirect back instead of following it", async () => {
    const { port } = await serve((_request, response) => {
      response.writeHead(302, { location: "http://169.254.169.254/latest/meta-data" }).end()
    })
    const answer = await egress().request(get(`http://127.0.0.1:${port}/`))
    expect(answer.status).toBe(302)
    expect(answer.headers["location"]).toBe("http://169.254.169.254/latest/meta-data")
  })

  it("is refused for anything but http and https, for passwords in the URL, and for what is no URL", async () => {
    for (const url of ["file:///etc/passwd", "ftp://a/", "http://user:pass@a/", "nonsense", "http://", "unix:/run/x"])
      expect(await codeOf(egress().request(get(url))), url).toBe("egress.invalid-url")
  })

  it("is refused with a method, a header or a body that may not be sent, without repeating a header's value", async () => {
    const url = "http://127.0.0.1:1/"
    const base = get(url)
    expect(await codeOf(egress().request({ ...base, method: "CONNECT" }))).toBe("egress.invalid-request")
    expect(await codeOf(egress().request({ ...base, headers: { "transfer-encoding": "chunked" } }))).toBe(
      "egress.invalid-request",
    )
    const body = Buffer.alloc(egressLimits.requestBytesMax + 1)
    expect(await codeOf(egress().request({ ...base, body }))).toBe("egress.invalid-request")
    const split = egress().request({ ...base, headers: { authorization: "secret-value\r\nx: y" } })
    await expect(split).rejects.toThrow("authorization")
    await expect(split).rejects.not.toThrow("secret-value")
  })
})

describe("connections that stay open", () => {
  async function counted(): Promise<{ port: number; connections: () => number }> {
    const { server, port } = await serve((_request, response) => response.end("x".repeat(2_000)))
    let connections = 0
    server.on("connection", () => connections++)
    return { port, connections: () => connections }
  }

  it("serve the next call that may be repeated, and no other", async () => {
    const { port, connections } = await counted()
    const outside = egress()
    const call = { ...get(`http://127.0.0.1:${port}/`), isRepeatable: true }
    for (let n = 0; n < 10; n++) expect((await outside.request(call)).status).toBe(200)
    const opened = connections()
    expect(opened).toBeLessThan(4)
    await outside.request({ ...call, isRepeatable: false })
    expect(connections()).toBe(opened + 1)
  })

  it("are not used where the name means other addresses by now, and never where those are refused", async () => {
    const { port, connections } = await counted()
    const answers = [["127.0.0.1"], ["127.0.0.2"], ["169.254.169.254"]]
    const outside = egress({
      allow: rules("127.0.0.1", "127.0.0.2"),
      resolve: () => Promise.resolve(answers.shift() ?? []),
    })
    const call = { ...get(`http://moving.test:${port}/`), isRepeatable: true }
    expect((await outside.request(call)).status).toBe(200)
    expect(await codeOf(outside.request(call))).toBe("egress.unreachable")
    expect(await codeOf(outside.request(call))).toBe("egress.refused-address")
    expect(connections()).toBe(1)
  })

  it("are opened anew after the other side closed them, and after an answer that was too large", async () => {
    const { server, port } = await serve((_request, response) => response.end("x".repeat(2_000)))
    const outside = egress()
    const call = { ...get(`http://127.0.0.1:${port}/`), isRepeatable: true }
    expect((await outside.request(call)).status).toBe(200)
    server.closeAllConnections()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect((await outside.request(call)).status).toBe(200)
    expect(await codeOf(outside.request({ ...call, responseBytesMax: 10 }))).toBe("egress.response-too-large")
    expect((await outside.request(call)).status).toBe(200)
  })
})

describe("which addresses are called", () => {
  it.each([
    "http://127.0.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://0/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://169.254.169.254/latest/meta-data",
    "http://[fe80::1]/",
    "http://localhost/",
    "http://localhost./",
  ])("%s is refused", async (url) => {
    expect(await codeOf(egress({ allow: [] }).request(get(url)))).toBe("egress.refused-address")
  })

  it("one refused address among several of a name refuses the call, and nobody is called", async () => {
    let calls = 0
    const { port } = await serve((_request, response) => {
      calls++
      response.end()
    })
    for (const addresses of [
      ["203.0.113.7", "169.254.169.254"],
      ["127.0.0.1", "203.0.113.7"],
    ]) {
      const mixed = egress({ allow: [], resolve: () => Promise.resolve(addresses) })
      expect(await codeOf(mixed.request(get(`http://two.example:${port}/`)))).toBe("egress.refused-address")
    }
    expect(calls).toBe(0)
  })

  it("a name is resolved once, and the connection goes to the address that was checked", async () => {
    const { port } = await serve((request, response) => response.end(`for ${request.headers.host}`))
    let asked = 0
    const rebinding = egress({
      resolve: () => Promise.resolve(asked++ === 0 ? ["127.0.0.1"] : ["169.254.169.254"]),
    })
    const answer = await rebinding.request(get(`http://rebinding.example:${port}/`))
    expect(answer.body.toString()).toBe(`for rebinding.example:${port}`)
    expect(asked).toBe(1)
    expect(await codeOf(rebinding.request(get(`http://rebinding.example:${port}/`)))).toBe("egress.refused-address")
  })

  it("private networks are called unless the setting denies them; what is allowed by name is called then too", async () => {
    const resolve = (): Promise<string[]> => Promise.resolve(["10.255.255.1"])
    const denied = egress({ privateAllowed: false, resolve })
    expect(await codeOf(denied.request(get("http://inside.example/")))).toBe("egress.refused-address")
    const tried = async (options: Partial<EgressOptions>): Promise<string | undefined> =>
      codeOf(egress({ resolve, ...options }).request({ ...get("http://inside.example:9/"), timeoutMilliseconds: 100 }))
    expect(await tried({})).not.toBe("egress.refused-address")
    expect(await tried({ privateAllowed: false, allow: rules("inside.example:9") })).not.toBe("egress.refused-address")
    expect(await tried({ privateAllowed: false, allow: rules("inside.example:10") })).toBe("egress.refused-address")
  })

  it("an allowed port opens no other port", async () => {
    const { port } = await serve((_request, response) => response.end("yes"))
    const narrow = egress({ allow: rules(`127.0.0.1:${port}`) })
    expect((await narrow.request(get(`http://127.0.0.1:${port}/`))).body.toString()).toBe("yes")
    expect(await codeOf(narrow.request(get(`http://127.0.0.1:${port - 1}/`)))).toBe("egress.refused-address")
  })
})

describe("the bounds of a call", () => {
  it("an answer over the bytes allowed fails, with and without a declared length", async () => {
    const { port } = await serve((request, response) => {
      if (request.url === "/declared") response.setHeader("content-length", 5000)
      response.write("x".repeat(2500))
      response.end("x".repeat(2500))
    })
    for (const path of ["declared", "streamed"]) {
      const call = { ...get(`http://127.0.0.1:${port}/${path}`), responseBytesMax: 4999 }
      expect(await codeOf(egress().request(call))).toBe("egress.response-too-large")
      expect((await egress().request({ ...call, responseBytesMax: 5000 })).body.length).toBe(5000)
    }
  })

  it("headers over their limit fail", async () => {
    const { port } = await serve((_request, response) => {
      response.setHeader("x-long", "x".repeat(egressLimits.headerBytesMax))
      response.end()
    })
    expect(await codeOf(egress().request(get(`http://127.0.0.1:${port}/`)))).toBe("egress.response-too-large")
  })

  it("a server that never answers, one that never ends, and a name service that hangs are timeouts", async () => {
    const { port } = await serve((request, response) => {
      if (request.url === "/drip") response.write("one")
    })
    const patient = egress()
    for (const path of ["silent", "drip"]) {
      const call = { ...get(`http://127.0.0.1:${port}/${path}`), timeoutMilliseconds: 200 }
      expect(await codeOf(patient.request(call)), path).toBe("egress.timeout")
    }
    const lost = egress({ resolve: () => new Promise(() => undefined) })
    expect(await codeOf(lost.request({ ...get("http://a.example/"), timeoutMilliseconds: 100 }))).toBe("egress.timeout")
  })

  it("nobody listening, no such name and a broken answer are unreachable; the message has no path", async () => {
    const { port, server } = await serve(() => undefined)
    server.on("connection", (socket) => socket.end("this is no HTTP\r\n\r\n"))
    const failed = egress().request(get(`http://127.0.0.1:${port}/hook/secret-token?key=secret-key`))
    await expect(failed).rejects.toSatisfy((error) => hasCode(error, "egress.unreachable"))
    await expect(failed).rejects.not.toThrow(/secret-token|secret-key/)
    expect(await codeOf(egress().request(get("http://127.0.0.1:1/")))).toBe("egress.unreachable")
    const nameless = egress({ resolve: () => Promise.reject(new Error("ENOTFOUND")) })
    expect(await codeOf(nameless.request(get("http://none.example/")))).toBe("egress.unreachable")
  })

  it("the caller's abort ends the call with the caller's reason", async () => {
    const { port } = await serve(() => undefined)
    const controller = new AbortController()
    const call = egress().request({ ...get(`http://127.0.0.1:${port}/`), signal: controller.signal })
    controller.abort(new Error("no longer wanted"))
    await expect(call).rejects.toThrow("no longer wanted")
  })
})

describe("a forward proxy", () => {
  async function serveProxy(): Promise<{ url: string; seen: string[] }> {
    const seen: string[] = []
    const { server, port } = await serve((request, response) => {
      seen.push(`${request.method} ${request.url}`)
      response.end("by the proxy")
    })
    server.on("connect", (request, socket) => {
      seen.push(`CONNECT ${request.url}`)
      const upstream = connect(Number(request.url?.split(":")[1]), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n")
        upstream.pipe(socket).pipe(upstream)
      })
      upstream.on("error", () => socket.destroy())
      socket.on("error", () => upstream.destroy())
    })
    return { url: `http://127.0.0.1:${port}`, seen }
  }
  const unknownHere = (): Promise<string[]> => Promise.reject(new Error("ENOTFOUND"))

  it("carries calls to names that this machine can't resolve, but none to a refused address", async () => {
    const proxy = await serveProxy()
    const behind = egress({ proxyUrl: proxy.url, resolve: unknownHere, allow: [] })
    const answer = await behind.request(get("http://outside.example/path"))
    expect(answer.body.toString()).toBe("by the proxy")
    expect(proxy.seen).toEqual(["GET http://outside.example/path"])
    expect(await codeOf(behind.request(get("http://169.254.169.254/")))).toBe("egress.refused-address")
    const resolved = egress({ proxyUrl: proxy.url, resolve: () => Promise.resolve(["127.0.0.1"]), allow: [] })
    expect(await codeOf(resolved.request(get("http://outside.example/")))).toBe("egress.refused-address")
    expect(proxy.seen).toHaveLength(1)
  })

  it("tunnels https, and is left out for this machine and for what no-proxy names", async () => {
    const proxy = await serveProxy()
    const { port } = await serve((_request, response) => response.end("direct"))
    const behind = egress({
      proxyUrl: proxy.url,
      noProxy: rules(".inside.example"),
      resolve: () => Promise.resolve(["127.0.0.1"]),
    })
    expect((await behind.request(get(`http://127.0.0.1:${port}/`))).body.toString()).toBe("direct")
    expect((await behind.request(get(`http://a.inside.example:${port}/`))).body.toString()).toBe("direct")
    expect(proxy.seen).toEqual([])
    expect(await codeOf(behind.request(get(`https://outside.example:${port}/`)))).toBe("egress.unreachable")
    expect(proxy.seen).toEqual([`CONNECT outside.example:${port}`])
  })
})
