import { once } from "node:events"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as delay } from "node:timers/promises"
import { afterEach, expect, it } from "vitest"
import { Prober } from "./prober.ts"

const closes: Array<() => void> = []
afterEach(() => {
  for (const close of closes.splice(0)) close()
})

async function serve(port: number, answer: { status: number; version: string; started: string }): Promise<Server> {
  const server = createServer((_request, response) => {
    response.writeHead(answer.status, { "x-started": answer.started }).end(`${answer.version}\n`)
  })
  server.listen(port, "127.0.0.1")
  await once(server, "listening")
  closes.push(() => server.close().closeAllConnections())
  return server
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > 1000) throw new Error("waited in vain")
    await delay(5)
  }
}

it("sees a service go, come back as another process, and answer that it is not well", async () => {
  const first = await serve(0, { status: 200, version: "v1", started: "a" })
  const { port } = first.address() as AddressInfo
  const prober = new Prober()
  closes.push(() => prober.stop())
  prober.watch("web-01", port)
  await until(() => prober.answer("web-01").version === "v1")
  first.close().closeAllConnections()
  await until(() => prober.answer("web-01").version === undefined)
  const second = await serve(port, { status: 200, version: "v1", started: "b" })
  await until(() => prober.answer("web-01").version === "v1")
  second.close().closeAllConnections()
  await serve(port, { status: 503, version: "v1", started: "c" })
  await until(() => prober.answer("web-01").version === undefined)
  const seen = prober.spells("web-01").map(({ version, started }) => [version, started])
  expect(seen).toEqual([
    ["v1", "a"],
    [undefined, undefined],
    ["v1", "b"],
    [undefined, undefined],
  ])
})
