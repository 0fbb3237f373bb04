import { beforeEach, expect, test } from "vitest"
import { serverStopLimits, servicesStopLimits, stopParts } from "./stop-parts.ts"

let said: string[]
const logger = { error: (...words: unknown[]) => void said.push(words.map(String).join(" ")) }
const hang = (): Promise<void> => new Promise(() => undefined)
const hour = 3_600_000

beforeEach(() => {
  said = []
})

test("the last that began is stopped first, and one that fails or hangs keeps nobody", async () => {
  const order: string[] = []
  const stops = ["database", "services", "listener"].map((name) => () => {
    order.push(name)
    if (name === "services") return Promise.reject(new Error("away"))
    return name === "listener" ? hang() : Promise.resolve()
  })
  await stopParts(stops, logger, { partMilliseconds: 1, allMilliseconds: hour, lateMilliseconds: 1 })
  expect(order).toEqual(["listener", "services", "database"])
  expect(said).toHaveLength(2)
})

test("however many hang, they end within the time of all", async () => {
  let begun = 0
  const stops = Array.from({ length: 50 }, () => () => {
    begun += 1
    return hang()
  })
  // One after the other they would take two days.
  await stopParts(stops, logger, { partMilliseconds: hour, allMilliseconds: 5, lateMilliseconds: 1 })
  expect(begun).toBe(50)
  expect(said).toHaveLength(50)
})

test("the services' time is within what they have as a part of the server, and that within all", () => {
  expect(servicesStopLimits.allMilliseconds).toBeLessThan(serverStopLimits.partMilliseconds)
  expect(serverStopLimits.partMilliseconds).toBeLessThan(serverStopLimits.allMilliseconds)
})
