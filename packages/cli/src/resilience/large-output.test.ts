import { tasksGet } from "@signalbox/contracts/workflows/operations"
import { setTimeout as delay } from "node:timers/promises"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type TestProcess, TestInstallation } from "./processes.fixture.ts"
import { getRun, startRun, waitForRunEnd } from "./run-evidence.fixture.ts"

const gibibyte = 1024 ** 3
const mebibyte = 1024 ** 2
const measureMilliseconds = 20
let installation: TestInstallation

beforeAll(async () => {
  installation = await TestInstallation.create()
  await installation.startServer()
  await installation.addNodes(["talker"])
})
afterAll(() => installation.remove())

/** The largest resident memory of a process until told to stop. */
function measure(process: TestProcess): () => Promise<number> {
  let [most, over] = [0, false]
  const measuring = (async () => {
    while (!over) {
      most = Math.max(most, await process.residentBytes())
      await delay(measureMilliseconds)
    }
  })()
  return async () => {
    over = true
    await measuring
    return most
  }
}

test("a gigabyte of output: head and tail are kept, the count is right, and neither side grows by it", async () => {
  const agent = installation.node("talker").agent
  const before = { agent: await agent.residentBytes(), server: await installation.server.residentBytes() }
  const most = [agent, installation.server].map(measure)
  const document = JSON.stringify({
    kind: "Workflow",
    name: "talk",
    timeout: "60s",
    steps: [{ run: "echo first words; head -c 1G /dev/zero | tr '\\0' x; echo; echo last words" }],
  })
  const id = await startRun(installation, { document, concurrency: 1, errorLimit: 0, nodes: ["talker"] })
  const followed = installation.run(["executions", "watch", id, "--output", "--json"])
  expect(await waitForRunEnd(installation, id)).toMatchObject({ state: "succeeded" })
  const [agentMost, serverMost] = await Promise.all(most.map((end) => end()))
  const { outcome } = await installation.client.call(tasksGet, { execution: id, task: "talker" })
  const { head = "", tail = "", bytes, truncated } = outcome?.steps[0]?.stdout ?? {}
  expect({ bytes, truncated }).toEqual({
    bytes: "first words\n".length + gibibyte + "\nlast words\n".length,
    truncated: true,
  })
  expect(head).toMatch(/^first words\nx+$/)
  expect(tail).toMatch(/^x+\nlast words\n$/)
  expect(head.length + tail.length).toBe(32 * 1024)
  expect(((agentMost ?? 0) - before.agent) / mebibyte).toBeLessThan(96)
  expect(((serverMost ?? 0) - before.server) / mebibyte).toBeLessThan(96)
  // Those who follow get a part of it, at the pace that the agent allows itself.
  expect((await followed).stdout.length).toBeLessThan(32 * mebibyte)
  expect(await getRun(installation, id)).toMatchObject({ counts: { succeeded: 1 } })
})
