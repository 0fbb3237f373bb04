import { createServer, type AddressInfo, type Server, type Socket } from "node:net"
import { afterAll, beforeAll, expect, test } from "vitest"
import type { DeliveryRow } from "./delivery-store.ts"
import { sendMail } from "./send-mail.ts"

let server: Server
const sockets = new Set<Socket>()

/** Greets, and then answers without ever coming to the end of the answer. */
beforeAll(async () => {
  server = createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => undefined)
    socket.write("220 here\r\n")
    const timer = setInterval(() => void socket.write("250-and more\r\n"), 20)
    socket.on("close", () => clearInterval(timer))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
})
afterAll(() => {
  for (const socket of sockets) socket.destroy()
  server.close()
})

const delivery = {
  id: "dlv_1",
  message: { title: "t", severity: "notice", facts: [["a", "b"]] },
  suppressed: 0,
} as unknown as DeliveryRow

function send(signal: AbortSignal, deadlineMilliseconds: number) {
  const { port } = server.address() as AddressInfo
  const settings = { url: `smtp://127.0.0.1:${port}`, from: "a@example.org", startTls: "try" } as const
  return sendMail(settings, delivery, { to: ["b@example.org"], signal, deadlineMilliseconds })
}

test("a mail server that never comes to an end is given up, and the delivery is tried again", async () => {
  expect(await send(new AbortController().signal, 300)).toEqual({
    ok: false,
    answer: "the mail server took more than 300 ms for one mail",
  })
})

test("a server that stops gives the delivery back at once", async () => {
  const stopping = new AbortController()
  const sending = send(stopping.signal, 60_000)
  stopping.abort(new Error("the server stops"))
  await expect(sending).rejects.toThrow("the server stops")
})
