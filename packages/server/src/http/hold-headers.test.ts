import { describe, expect, test } from "vitest"
import { readHoldWishes, readWait } from "./hold-headers.ts"

describe("headers of calls that may be held", () => {
  test("no header, no wishes", () => {
    expect(readHoldWishes({ prefer: "wait=3" })).toBeUndefined()
  })

  test("each header is read", () => {
    expect(
      readHoldWishes({
        "signalbox-not-before": "2030-01-31T03:00:00+01:00",
        "signalbox-window": "night",
        "signalbox-break-glass": "Ausfall%20in%20M%C3%BCnchen",
      }),
    ).toEqual({ notBefore: Date.UTC(2030, 0, 31, 2), window: "night", breakGlass: "Ausfall in München" })
  })

  test.each([
    ["signalbox-not-before", "tomorrow"],
    ["signalbox-not-before", "2030-13-31T03:00:00Z"],
    ["signalbox-window", "a b"],
    ["signalbox-break-glass", "  "],
    ["signalbox-break-glass", "x".repeat(1001)],
  ])("%s: %s is refused", (name, value) => {
    expect(() => readHoldWishes({ [name]: value })).toThrow(/takes/)
  })

  test.each([
    ["wait=30", 30],
    ["respond-async, wait=5", 5],
    ["respond-async;wait=7;x", 7],
    ["wait=100000", 60],
    ["wait=-1", 0],
    ["await=9", 0],
    [undefined, 0],
  ])("Prefer: %s waits for %s s", (prefer, seconds) => {
    expect(readWait(prefer === undefined ? {} : { prefer })).toBe(seconds)
  })
})
