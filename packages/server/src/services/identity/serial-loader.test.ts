import { expect, test } from "vitest"
import { SerialLoader } from "./serial-loader.ts"

test("loads run one after another; whoever asks meanwhile gets one that begins later", async () => {
  const log: string[] = []
  const gates: Array<() => void> = []
  const loader = new SerialLoader(async (account) => {
    log.push(`begin ${account}`)
    await new Promise<void>((resolve) => gates.push(resolve))
    log.push(`end ${account}`)
  })
  const first = loader.load("a")
  await Promise.resolve()
  const [second, third] = [loader.load("a"), loader.load("a")]
  expect(second).toBe(third)
  expect(log).toEqual(["begin a"])
  gates.shift()?.()
  await first
  while (gates.length === 0) await Promise.resolve()
  expect(log).toEqual(["begin a", "end a", "begin a"])
  gates.shift()?.()
  await second
})

test("a load that failed doesn't keep later ones from running", async () => {
  let fails = true
  const loader = new SerialLoader(() => (fails ? Promise.reject(new Error("no database")) : Promise.resolve()))
  await expect(loader.load("a")).rejects.toThrow("no database")
  fails = false
  await loader.load("a")
})
