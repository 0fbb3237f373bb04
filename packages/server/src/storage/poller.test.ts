import { describe, expect, it } from "vitest"
import { Poller } from "./poller.ts"

const hour = 3_600_000

/** A poller whose looks end when they are told to. */
function held() {
  const looks: Array<PromiseWithResolvers<void>> = []
  const errors: unknown[] = []
  let stopSeen = false
  const poller = new Poller({
    everyMilliseconds: hour,
    look: async (isStopped) => {
      const look = Promise.withResolvers<void>()
      looks.push(look)
      await look.promise
      stopSeen = isStopped()
    },
    onError: (error) => errors.push(error),
  })
  const end = async (index: number, error?: Error): Promise<void> => {
    if (error) looks[index]?.reject(error)
    else looks[index]?.resolve()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { poller, looks, errors, end, sawStop: () => stopSeen }
}

describe("a poller", () => {
  it("looks at once, and after many hints during a look once more", async () => {
    const { poller, looks, end } = held()
    poller.start()
    for (let hint = 0; hint < 5; hint++) poller.hint()
    expect(looks).toHaveLength(1)
    await end(0)
    expect(looks).toHaveLength(2)
    await end(1)
    expect(looks).toHaveLength(2)
    poller.hint()
    expect(looks).toHaveLength(3)
    await end(2)
    await poller.stop()
  })

  it("goes on after a look that failed", async () => {
    const { poller, looks, errors, end } = held()
    poller.start()
    poller.hint()
    await end(0, new Error("the database is away"))
    expect(errors).toEqual([new Error("the database is away")])
    expect(looks).toHaveLength(2)
    await end(1)
    await poller.stop()
  })

  it("waits for the look under way when it is stopped, tells it, and looks no more", async () => {
    const { poller, looks, end, sawStop } = held()
    poller.start()
    poller.hint()
    const stopped = poller.stop()
    await end(0)
    await stopped
    expect(sawStop()).toBe(true)
    poller.hint()
    expect(looks).toHaveLength(1)
  })
})
