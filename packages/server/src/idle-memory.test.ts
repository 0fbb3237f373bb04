import { expect, test } from "vitest"
import { IdleMemory } from "./idle-memory.ts"

const megabyte = 1024 * 1024

function start(heapMegabytes: number) {
  const process = { heapMegabytes, busySeconds: 100, collections: 0 }
  const memory = new IdleMemory({
    heapBytes: () => process.heapMegabytes * megabyte,
    busyMilliseconds: () => process.busySeconds * 1000,
    collect() {
      process.collections += 1
      process.heapMegabytes = 40
    },
  })
  memory.start()
  const look = (busySeconds: number): number => {
    process.busySeconds += busySeconds
    memory.look(10_000)
    return process.collections
  }
  return { process, memory, look }
}

test("memory is given back once after a flood, when the process has little to do", () => {
  const { process, memory, look } = start(200)
  expect([look(9), look(1), look(9), look(1)]).toEqual([0, 0, 0, 0])
  expect(look(1)).toBe(1)
  expect([look(1), look(1), look(1)]).toEqual([1, 1, 1])
  process.heapMegabytes = 60
  expect([look(1), look(1)]).toEqual([1, 1])
  process.heapMegabytes = 70
  expect(look(1)).toBe(2)
  memory.stop()
})

test("a heap that grows again each time is collected ever more seldom, until there was long no need", () => {
  const { process, memory, look } = start(200)
  const looksUntilNext = (): number => {
    process.heapMegabytes = 80
    const before = process.collections
    for (let looks = 1; looks < 1_000; looks++) if (look(1) > before) return looks
    return Infinity
  }
  expect(Array.from({ length: 5 }, looksUntilNext)).toEqual([2, 2, 4, 8, 16])
  for (let looks = 0; looks < 20; looks++) expect(looksUntilNext()).toBeLessThanOrEqual(360)
  expect(looksUntilNext()).toBe(360)
  process.heapMegabytes = 41
  for (let looks = 0; looks < 360; looks++) look(1)
  for (let looks = 0; looks < 360; looks++) look(1)
  expect([looksUntilNext(), looksUntilNext()]).toEqual([1, 2])
  memory.stop()
})

test("the heap of this process shrinks", () => {
  const memory = new IdleMemory()
  memory.start()
  let flood: object[] = []
  for (let n = 0; n < 1_500_000; n++) flood.push({ n })
  expect(flood).toHaveLength(1_500_000)
  flood = []
  const before = process.memoryUsage().heapTotal
  // As if days had passed since, so that it had little to do.
  memory.look(1e9)
  memory.look(1e9)
  expect(process.memoryUsage().heapTotal).toBeLessThan(before - 30 * megabyte)
  memory.stop()
})
