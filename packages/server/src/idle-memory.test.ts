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
