import { setImmediate as nextTurn } from "node:timers/promises"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { AddressInfo } from "node:net"
import { operations } from "@signalbox/contracts/operations"
import type { AnyOperation } from "@signalbox/contracts/operation"
import { pino } from "pino"
import { expect, test } from "vitest"
import WebSocket from "ws"
import type { OpenedSocket } from "../router/handler.ts"
import type { Router } from "../router/router.ts"
import { systemClock, systemRandom } from "../system.ts"
import { createEdge } from "./edge.ts"

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

test("a session keeps nothing of the request that opened it, and works on", async () => {
  let held: WeakRef<AbortSignal> | undefined
  const router = {
    carryOut(call: { signal: AbortSignal }) {
      held = new WeakRef(call.signal)
      const accept = ({ socket }: OpenedSocket): void => void socket.on("message", (data: Buffer) => socket.send(data))
      return Promise.resolve({ effect: "session", accept })
    },
  } as unknown as Router
  const sessionOperations = (operations as readonly AnyOperation[]).filter(({ effect }) => effect === "session")
  const edge = await createEdge({
    router,
    operations: new Map(sessionOperations.map((operation) => [operation.name, operation])),
    clock: systemClock,
    random: systemRandom,
    logger: pino({ level: "silent" }),
    callsPerSecondMax: 1000,
    documents: new Map(),
  })
  await edge.listen({ host: "127.0.0.1", port: 0 })
  const socket = new WebSocket(`ws://127.0.0.1:${(edge.server.address() as AddressInfo).port}/v1/sessions`)
  try {
    const echo = (text: string): Promise<string> =>
      new Promise((resolve, reject) => {
        socket.once("error", reject).once("message", (data: Buffer) => resolve(data.toString()))
        socket.send(text)
      })
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject))
    expect(await echo("first")).toBe("first")
    expect(held).toBeDefined()
    await expect
      .poll(
        async () => {
          collect()
          await nextTurn()
          return held?.deref()
        },
        { timeout: 30_000 },
      )
      .toBeUndefined()
    expect(await echo("second")).toBe("second")
  } finally {
    socket.terminate()
    await edge.close()
  }
})
