import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import { afterAll, beforeAll, expect, test } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { encodeTextMessages } from "./text-messages.ts"

const http = createServer()
const sockets = new WebSocketServer({ noServer: true })
let opened: ((stream: Duplex) => void) | undefined

beforeAll(async () => {
  http.on("upgrade", (request, stream, head) => sockets.handleUpgrade(request, stream, head, () => opened?.(stream)))
  const { promise, resolve } = Promise.withResolvers<void>()
  http.listen(0, "127.0.0.1", resolve)
  await promise
})

afterAll(() => http.close())

/** As a client's library reads it; ends with the text `end`. */
async function read(buffer: Buffer, pieceBytes = buffer.length): Promise<string[]> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  opened = (stream) => {
    for (let at = 0; at < buffer.length; at += pieceBytes) stream.write(buffer.subarray(at, at + pieceBytes))
    stream.write(encodeTextMessages(["end"]))
  }
  const texts: string[] = []
  const client = new WebSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}`)
  client.on("message", (data: Buffer, isBinary: boolean) => {
    const text = isBinary ? "binary" : data.toString("utf8")
    if (text === "end") resolve()
    else texts.push(text)
  })
  client.on("error", reject)
  await promise
  client.terminate()
  return texts
}

const lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 100_000]

test.each(lengths)("a text of %i bytes is read as it was", async (length) => {
  const text = "x".repeat(length)
  expect(await read(encodeTextMessages([text]))).toEqual([text])
})

test("several leave in one buffer and are read one by one, cut wherever", async () => {
  const texts = ["short", "ä€😀 \ud800", ...lengths.slice(0, 6).map((length) => "y".repeat(length)), "last"]
  const expected = texts.map((text) => text.toWellFormed())
  const buffer = encodeTextMessages(texts)
  expect(await read(buffer)).toEqual(expected)
  expect(await read(buffer, 7)).toEqual(expected)
})
