import { expect, it } from "vitest"
import { TerminalScreen } from "./terminal-screen.ts"

function screenOf(...texts: string[]): TerminalScreen {
  const screen = new TerminalScreen(10, 3)
  for (const text of texts) screen.write(Buffer.from(text))
  return screen
}

const plain = (screen: TerminalScreen) => screen.lines().map((runs) => runs.map(({ text }) => text).join(""))

it("scrolls, wraps and writes over", () => {
  expect(plain(screenOf("one\r\ntwo\r\nthree\r\nfour"))).toEqual(["two", "three", "four"])
  expect(plain(screenOf("0123456789ab"))).toEqual(["0123456789", "ab", ""])
  expect(plain(screenOf("one\r\ntwo", "\u001b[1A\u001b[2K\u001b[Gx\u001b[1B\u001b[2Gy\u001b[K"))).toEqual([
    "x",
    "ty",
    "",
  ])
})

it("keeps colours apart and understands a sequence that comes in two pieces", () => {
  const [line] = screenOf("\u001b[1;32mok\u001b[2", "2m!\u001b[39m.").lines()
  expect(line).toEqual([
    { text: "ok", style: "bold green" },
    { text: "!", style: "green" },
    { text: ".", style: "" },
  ])
})

it("refuses what it doesn't know", () => {
  expect(() => screenOf("\u001b[5S")).toThrow("unknown sequence")
  expect(() => screenOf("\u001b[38m")).toThrow("unknown style")
})
