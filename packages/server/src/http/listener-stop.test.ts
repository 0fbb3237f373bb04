import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { connect, type AddressInfo, type Socket } from "node:net"
import { join } from "node:path"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { operations } from "@signalbox/contracts/operations"
import type { AnyOperation } from "@signalbox/contracts/operation"
import { pino } from "pino"
import { expect, onTestFinished, test } from "vitest"
import { WebSocket } from "ws"
import type { OpenedSocket } from "../router/handler.ts"
import type { Router } from "../router/router.ts"
import { systemClock, systemRandom } from "../system.ts"
import { ensureServerTls } from "./certificate-authority.ts"
import { createEdge } from "./edge.ts"

type Carried = Awaited<ReturnType<Router["carryOut"]>>

/** With sessions that hear what is sent to them, and nothing else. */
async function openEdge(
  accepts: Promise<unknown> = Promise.resolve(),
  tls?: { readonly certPem: string; readonly keyPem: string },
) {
  const accept = ({ socket }: OpenedSocket): void => socket.send("welcome")
  const router = {
    carryOut: () => accepts.then(() => ({ effect: "session", accept }) as unknown as Carried),
  } as unknown as Router
  const sessions = (operations as readonly AnyOperation[]).filter(({ effect }) => effect === "session")
  const edge = await createEdge({
    router,
    operations: new Map(sessions.map((operation) => [operation.name, operation])),
    clock: systemClock,
    random: systemRandom,
    logger: pino({ level: "silent" }),
    callsPerSecondMax: 1000,
    documents: new Map(),
    ...(tls && { tls }),
  })
  await edge.listen({ host: "127.0.0.1", port: 0 })
  return { edge, port: (edge.server.address() as AddressInfo).port }
}

/** A client that asks for a session and then never says anything, not even goodbye. */
async function dialSilently(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1").on("error", () => undefined)
  await once(socket, "connect")
  const lines = [
    "GET /v1/sessions HTTP/1.1",
    "Host: a",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
  ]
  socket.write(`${lines.join("\r\n")}\r\n\r\n`)
  return socket
}

test("a listener closes though a session's client answers nothing", { timeout: 15_000 }, async () => {
  const { edge, port } = await openEdge()
  const socket = await dialSilently(port)
  await once(socket, "data")
  await edge.close()
  if (!socket.closed) await once(socket, "close")
})

test("a listener closes though a client never begins its TLS", { timeout: 15_000 }, async () => {
  const directory = await mkdtemp(join(tmpdir(), "signalbox-stop-"))
  onTestFinished(() => rm(directory, { recursive: true }))
  const tls = await ensureServerTls({ directory, names: ["127.0.0.1"], clock: systemClock })
  const { edge, port } = await openEdge(undefined, tls)
  const came = once(edge.server, "connection")
  const socket = connect(port, "127.0.0.1").on("error", () => undefined)
  await came
  await edge.close()
  if (!socket.closed) await once(socket, "close")
})

test("an upgrade that was on its way ends when the listener closes", { timeout: 15_000 }, async () => {
  const decided = Promise.withResolvers<void>()
  const { edge, port } = await openEdge(decided.promise)
  const came = once(edge.server, "upgrade")
  const socket = await dialSilently(port)
  await came
  const closing = edge.close()
  let said = ""
  socket.on("data", (data: Buffer) => (said += data.toString("latin1")))
  decided.resolve()
  await Promise.all([closing, socket.closed ? undefined : once(socket, "close")])
  // One that was opened at the very last moment is told.
  expect(said).toMatch(/^HTTP\/1.1 (?:503|101 [^]*the server is stopping$)/)
})

test("an upgrade that comes when the listener has begun to close is answered", async () => {
  const { edge } = await openEdge()
  const said: unknown[] = []
  await edge.close()
  edge.server.emit(
    "upgrade",
    { url: "/v1/sessions", headers: {} },
    { end: (text: unknown) => said.push(text) },
    Buffer.alloc(0),
  )
  expect(said).toEqual([expect.stringContaining("503 Service Unavailable")])
})

test("sessions are told that the server goes away, as those that come back at once", async () => {
  const { edge, port } = await openEdge()
  const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/sessions`)
  const closed = once(socket, "close")
  await once(socket, "message")
  await edge.close()
  expect((await closed)[0]).toBe(1001)
})
