/**
 * NATS beside us: Debian's nats-server, as many connections as we have agents, each asked once by request/reply. It keeps
 * nothing and runs nothing: the floor for reaching so many connections.
 */
import { fork, spawn } from "node:child_process"
import { setTimeout as delay } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { connect } from "@nats-io/transport-node"
import { contenderInput, finish } from "../measure.ts"
import { residentMegabytes } from "../server-process.ts"

const port = 14_222
const requestsAtOnce = 1_000
const subjectOf = (n: number): string => `agent.${n}`

/** In a process of its own: connections that answer. */
async function answer(first: number, count: number): Promise<void> {
  for (let n = first; n < first + count; n += 32) {
    const some = Array.from({ length: Math.min(32, first + count - n) }, (_, index) => n + index)
    await Promise.all(
      some.map(async (number) => {
        const connection = await connect({ servers: `127.0.0.1:${port}`, reconnect: false })
        connection.subscribe(subjectOf(number), {
          callback: (_, message) => void message.respond(`done by ${number}\n`),
        })
        await connection.flush()
      }),
    )
  }
  process.send?.("connected")
}

async function ask(): Promise<void> {
  const { connections, perProcess } = contenderInput<{ connections: number; perProcess: number }>()
  const server = spawn("nats-server", ["-a", "127.0.0.1", "-p", String(port)], { stdio: ["ignore", "ignore", "pipe"] })
  let said = ""
  server.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()))
  for (let n = 0; !said.includes("Server is ready"); n++) {
    if (n > 500 || server.exitCode !== null) throw new Error(`nats-server did not start: ${said}`)
    await delay(10)
  }
  const before = await residentMegabytes(server.pid ?? 0)
  const begin = performance.now()
  const children = Array.from({ length: Math.ceil(connections / perProcess) }, (_, index) =>
    fork(fileURLToPath(import.meta.url), [
      "answer",
      String(index * perProcess),
      String(Math.min(perProcess, connections - index * perProcess)),
    ]),
  )
  await Promise.all(children.map((child) => new Promise((resolve) => child.once("message", resolve))))
  const connectSeconds = (performance.now() - begin) / 1000
  await delay(2_000)
  const requester = await connect({ servers: `127.0.0.1:${port}` })
  const requestBegin = performance.now()
  let next = 0
  await Promise.all(
    Array.from({ length: requestsAtOnce }, async () => {
      for (let n = next++; n < connections; n = next++) {
        await requester.request(subjectOf(n), "order", { timeout: 30_000 })
      }
    }),
  )
  const requestSeconds = (performance.now() - requestBegin) / 1000
  const megabytes = (await residentMegabytes(server.pid ?? 0)) - before
  for (const child of children) child.kill()
  server.kill()
  finish({ connectSeconds, requestSeconds, megabytes, version: /Version:\s+(\S+)/.exec(said)?.[1] ?? "" })
}

const [, , role, first, count] = process.argv
if (role === "answer") await answer(Number(first), Number(count))
else await ask()
