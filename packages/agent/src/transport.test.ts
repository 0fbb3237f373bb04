import { writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { type AddressInfo, connect } from "node:net"
import { join } from "node:path"
import { rootCertificates } from "node:tls"
import { afterEach, describe, expect, test } from "vitest"
import { type RunningAgent, startAgent } from "./agent.ts"
import { backoffMilliseconds } from "./backoff.ts"
import { makeMachine, newKey, orderOf, shell, type TestMachine } from "./protocol-server.fixture.ts"
import { parseServerUrl } from "./server-transport.ts"

let machine: TestMachine | undefined
let agent: RunningAgent | undefined

afterEach(async () => {
  await agent?.stop()
  await machine?.remove()
  agent = undefined
  machine = undefined
})

async function start({ dataDirectory, root }: TestMachine): Promise<string[]> {
  const lines: string[] = []
  const write = (message: string, fields?: object) => void lines.push(`${message} ${JSON.stringify(fields)}`)
  const limits = { backoffMillisecondsMin: 20, backoffMillisecondsMax: 50 }
  agent = await startAgent({ dataDirectory, root, limits, logger: { info: write, warn: write, error: write } })
  return lines
}

describe("X8: the way to the server", () => {
  test("is TLS that trusts the pinned CA", async () => {
    machine = await makeMachine(true)
    await start(machine)
    await machine.server.session()
    const key = newKey()
    machine.server.start(key, orderOf([shell("true")]))
    expect((await machine.server.finished(key)).state).toBe("succeeded")
  })

  test("is not taken where another CA vouches for the server", async () => {
    machine = await makeMachine(true)
    writeFileSync(join(machine.dataDirectory, "ca.pem"), rootCertificates[0] ?? "")
    const lines = await start(machine)
    await expect.poll(() => lines.filter((line) => line.includes("certificate")).length).toBeGreaterThan(2)
    expect(machine.server.sessions).toBe(0)
  })

  test("goes through a proxy (CONNECT) where the environment names one", async () => {
    machine = await makeMachine(true)
    const connects: string[] = []
    const proxy = createServer()
    proxy.on("connect", (request, client) => {
      connects.push(request.url ?? "")
      const [host, port] = (request.url ?? "").split(":")
      const upstream = connect(Number(port), host, () => {
        client.write("HTTP/1.1 200 OK\r\n\r\n")
        upstream.pipe(client).pipe(upstream)
      })
      upstream.on("error", () => client.destroy())
      client.on("error", () => upstream.destroy())
    })
    const { promise, resolve } = Promise.withResolvers<void>()
    proxy.listen(0, "127.0.0.1", resolve)
    await promise
    process.env["HTTPS_PROXY"] = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
    try {
      await start(machine)
      await machine.server.session()
      expect(connects).toEqual([`127.0.0.1:${machine.server.port}`])
    } finally {
      delete process.env["HTTPS_PROXY"]
      proxy.close()
    }
  })

  test("is never plain text beyond this machine, unless asked for", () => {
    for (const url of ["http://localhost:1", "http://127.0.0.1", "http://[::1]:80", "https://far.example"]) {
      expect(parseServerUrl(url, false).href).toContain("//")
    }
    for (const url of ["http://far.example", "http://127.0.0.1.far.example", "http://localhost.far.example"]) {
      expect(() => parseServerUrl(url, false)).toThrow("plain text")
    }
    expect(parseServerUrl("http://far.example", true).hostname).toBe("far.example")
  })

  test("pauses between tries stay within their bounds, and spread", () => {
    const bounds = { least: 200, longest: 30_000 }
    for (let failures = 0; failures < 100; failures++) {
      expect(backoffMilliseconds(failures, bounds, 0)).toBe(200)
      expect(backoffMilliseconds(failures, bounds, 0.999_999)).toBeLessThanOrEqual(30_000)
    }
    expect(backoffMilliseconds(3, bounds, 0.5)).toBe(900)
    expect(backoffMilliseconds(50, bounds, 0.5)).toBe(15_100)
  })
})
