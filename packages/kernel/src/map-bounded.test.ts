import { expect, test } from "vitest"
import { mapBounded } from "./map-bounded.ts"

test("so many at once and no more, results in the order of the items", async () => {
  let [now, most] = [0, 0]
  const doubled = await mapBounded([5, 1, 4, 2, 3], 2, async (item) => {
    most = Math.max(most, ++now)
    for (let turn = 0; turn < item; turn++) await Promise.resolve()
    now--
    return item * 2
  })
  expect(doubled).toEqual([10, 2, 8, 4, 6])
  expect(most).toBe(2)
  expect(await mapBounded([], 3, () => Promise.resolve(1))).toEqual([])
})

test("a failure is thrown when what was under way has ended, and nothing is begun after it in its lane", async () => {
  const done: number[] = []
  const work = async (item: number) => {
    await Promise.resolve()
    if (item === 1) throw new Error("one")
    done.push(item)
  }
  await expect(mapBounded([1, 2, 3], 1, work)).rejects.toThrow("one")
  expect(done).toEqual([])
})
