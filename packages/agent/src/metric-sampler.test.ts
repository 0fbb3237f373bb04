import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { MetricSample, MetricWatch } from "@signalbox/contracts/fleet/metrics"
import { afterEach, beforeEach, expect, test } from "vitest"
import { startAgent, type RunningAgent } from "./agent.ts"
import { parseNumber } from "./metric-sampler.ts"
import { makeMachine, type TestMachine } from "./protocol-server.fixture.ts"

let machine: TestMachine
let agent: RunningAgent
beforeEach(async () => {
  machine = await makeMachine()
})
afterEach(async () => {
  await agent.stop()
  await machine.remove()
})

const every = { everyMilliseconds: 1_000 }
const command = (id: string, text: string, timeoutMilliseconds = 20_000): MetricWatch => ({
  ...{ id, ...every },
  metric: { kind: "command", command: text, timeoutMilliseconds },
})

async function start(policyFile?: string): Promise<void> {
  const limits = { backoffMillisecondsMin: 20, backoffMillisecondsMax: 100 }
  agent = await startAgent({
    ...{ dataDirectory: machine.dataDirectory, root: machine.root, limits },
    ...(policyFile === undefined ? {} : { policyFile }),
  })
  await machine.server.session()
}

const watch = (...watches: MetricWatch[]): void => machine.server.send({ type: "watch-metrics", watches })

/** The next sample of this id for which that holds. */
async function sample(id: string, holds: (sample: MetricSample) => boolean = () => true): Promise<MetricSample> {
  return await machine.server.until(
    () =>
      machine.server
        .all("metrics")
        .flatMap(({ samples }) => samples)
        .find((each) => each.id === id && holds(each)),
    `a sample of ${id}`,
  )
}

test("R5: load, memory, disk and a command's number are measured, all that is due in one frame", async () => {
  await start()
  await writeFile(join(machine.root, "figure"), "41.5\nand more\n")
  const others = (["load", "memory"] as const).map((kind) => ({ id: kind, ...every, metric: { kind } }))
  watch(...others, { id: "disk", ...every, metric: { kind: "disk", path: "/" } }, command("own", "cat figure"))
  expect((await sample("own")).value).toBe(41.5)
  for (const id of ["memory", "disk"]) {
    const { value = -1 } = await sample(id)
    expect(value, id).toBeGreaterThan(0)
    expect(value, id).toBeLessThanOrEqual(100)
  }
  expect((await sample("load")).value).toBeGreaterThanOrEqual(0)
  expect(machine.server.all("metrics")[0]?.samples).toHaveLength(4)
  await writeFile(join(machine.root, "figure"), "7")
  await sample("own", ({ value }) => value === 7)
})

test("what can't be measured says why, and the rest is measured all the same", async () => {
  await start()
  watch(
    command("words", "echo full"),
    command("fails", "echo no such disk >&2; exit 3"),
    command("slow", "sleep 60", 200),
    { id: "nowhere", ...every, metric: { kind: "disk", path: "/not/there" } },
    { id: "outside", ...every, metric: { kind: "disk", path: "../.." } },
    { id: "load", ...every, metric: { kind: "load" } },
  )
  expect((await sample("words")).problem).toMatch(/^not available: .*printed no number/)
  expect((await sample("fails")).problem).toContain("with 3: no such disk")
  expect((await sample("slow")).problem).toContain("timed-out")
  expect((await sample("nowhere")).problem).toContain("ENOENT")
  expect((await sample("outside")).problem).toContain("..")
  expect((await sample("load")).value).toBeDefined()
})

test("the local policy has the last word on commands, and none on load", async () => {
  const file = join(machine.dataDirectory, "policy.yaml")
  await mkdir(machine.dataDirectory, { recursive: true })
  await writeFile(file, "steps: [command]\n", { mode: 0o600 })
  await start(file)
  watch(command("own", "echo 1"), { id: "load", ...every, metric: { kind: "load" } })
  expect((await sample("own")).problem).toMatch(/^not available: .*the local policy refuses it/)
  expect((await sample("load")).value).toBeDefined()
})

test("nothing is measured unasked, nor after the server has taken it back", async () => {
  await start()
  watch(command("own", "echo run >> runs; echo 1"))
  await sample("own")
  watch({ id: "last", ...every, metric: { kind: "load" } })
  await sample("last")
  const before = machine.server.all("metrics").length
  const isOwn = ({ id }: MetricSample): boolean => id === "own"
  await machine.server.until(() => machine.server.all("metrics").length >= before + 2, "two more samples")
  const later = machine.server.all("metrics").slice(before)
  expect(later.flatMap(({ samples }) => samples).some(isOwn)).toBe(false)
})

test("a number is the first line, and nothing but a number", () => {
  expect(["1", " 2.5 \nx", "-3e2"].map(parseNumber)).toEqual([1, 2.5, -300])
  for (const text of ["", "\n1", "1 2", "NaN", "Infinity", "full"]) expect(() => parseNumber(text)).toThrow(/no number/)
})
