import fc from "fast-check"
import { expect, test } from "vitest"
import { readServerSentEvents, type ServerSentEvent } from "./server-sent-events.ts"

async function read(chunks: readonly Uint8Array[]): Promise<ServerSentEvent[]> {
  async function* source() {
    yield* chunks
  }
  return await Array.fromAsync(readServerSentEvents(source()))
}

const text = (value: string) => [new TextEncoder().encode(value)]

test("reads data, event and id; skips comments, unknown fields and messages without data", async () => {
  expect(
    await read(text(": hello\n\nid: 1\ndata: a\ndata:b\n\nevent: end\nfoo: x\ndata\n\nevent: nothing\n\n")),
  ).toEqual([
    { event: "message", id: "1", data: "a\nb" },
    { event: "end", id: "1", data: "" },
  ])
})

test("an incomplete last message is dropped", async () => {
  expect(await read(text("data: a\n\ndata: b\n"))).toEqual([{ event: "message", data: "a" }])
})

test("however a stream is cut, and whichever line ends it has, the messages are the same", async () => {
  const line = fc.string({ unit: "binary", maxLength: 8 }).map((value) => value.replaceAll(/[\r\n]/g, ""))
  const lineEnd = fc.constantFrom("\n", "\r\n", "\r")
  await fc.assert(
    fc.asyncProperty(fc.array(line, { minLength: 1 }), lineEnd, fc.array(fc.nat()), async (datas, end, cuts) => {
      const bytes = new TextEncoder().encode(datas.map((data) => `data: ${data}${end}${end}`).join(""))
      const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b)
      const chunks = places.slice(1).map((place, index) => bytes.slice(places[index], place))
      // A lone carriage return at the end of the stream may still be the first half of a line end.
      const whole = end === "\r" ? [...chunks, new TextEncoder().encode("\r:")] : chunks
      const expected = datas.map((data) => new TextDecoder().decode(new TextEncoder().encode(data)))
      expect((await read(whole)).map((event) => event.data)).toEqual(expected)
    }),
  )
})
