import { setImmediate as turn, setTimeout as delay } from "node:timers/promises"
import { Pool } from "undici"
import { afterEach, expect, test } from "vitest"
import { ServiceUpstream, Target } from "./upstream.ts"

const url = "http://127.0.0.1:9"
const opened: Pool[] = []

function open(openMilliseconds = 60_000) {
  const dispatcher = new Pool(url)
  opened.push(dispatcher)
  const pool = { dispatcher, close: () => dispatcher.close(), destroy: () => dispatcher.destroy() }
  const target = new Target({ url, weight: 1, pool, failuresMax: 3, openMilliseconds })
  const upstream = new ServiceUpstream("billing", [target], "least-pending")
  const come = async (...outcomes: Array<"good" | "failed" | "unknown">): Promise<void> => {
    for (const outcome of outcomes) {
      const attempt = upstream.begin([])
      if (outcome !== "unknown") attempt.judge(outcome)
      attempt.end()
      await turn()
    }
  }
  return { target, upstream, come }
}

afterEach(async () => {
  await Promise.all(opened.splice(0).map((pool) => pool.destroy()))
})

test("a circuit opens after failures in a row, and one good call begins the row anew", async () => {
  const { target, upstream, come } = open()
  await come("failed", "failed", "good", "failed", "failed", "unknown")
  expect(target.state).toBe("healthy")
  await come("failed")
  expect(target.state).toBe("circuit-open")
  expect(() => upstream.begin([])).toThrow(/takes calls now/)
})

test("the first word of a call counts, and one that ends late says nothing to a circuit that was opened meanwhile", async () => {
  const { target, upstream, come } = open(1)
  const [late, later, contradictory] = [upstream.begin([]), upstream.begin([]), upstream.begin([])]
  contradictory.judge("good")
  contradictory.judge("failed")
  contradictory.end()
  await come("failed", "failed")
  expect(target.state).toBe("healthy")
  await come("failed")
  // So long that the next call would try it: a late word is no try.
  await delay(10)
  late.judge("good")
  later.judge("failed")
  late.end()
  later.end()
  await turn()
  expect([target.state, target.pending]).toEqual(["circuit-open", 0])
})

test("one call tries an open circuit, and closes it for as many failures as before", async () => {
  const { target, upstream, come } = open(30)
  const trialOf = async () => {
    let trial: ReturnType<Target["begin"]>
    await expect.poll(() => (trial = target.begin()) !== undefined, { interval: 5 }).toBe(true)
    return trial
  }
  await come("failed", "failed", "failed")
  const given = await trialOf()
  expect(() => upstream.begin([])).toThrow(/takes calls now/)
  given?.end()
  await turn()
  expect(target.state).toBe("circuit-open")
  const good = await trialOf()
  good?.judge("good")
  good?.end()
  await turn()
  expect(target.state).toBe("healthy")
  await come("good", "failed", "failed")
  expect(target.state).toBe("healthy")
  await come("failed")
  expect(target.state).toBe("circuit-open")
})
