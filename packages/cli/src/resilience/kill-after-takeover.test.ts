import { executionsAbort } from "@signalbox/contracts/workflows/operations"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { afterAll, beforeAll, expect, test } from "vitest"
import { TestInstallation } from "./processes.fixture.ts"
import { readEvidence, slowStep, startRun, stateFile, tasksByName, waitForRunEnd } from "./run-evidence.fixture.ts"

let installation: TestInstallation
const nodes = ["a", "b"] as const
const document = JSON.stringify({
  kind: "Workflow",
  name: "change",
  startTimeout: "10m",
  save: [stateFile],
  rollback: "on-failure",
  steps: [{ run: slowStep(0.2) }],
})
/** Longer than the server waits for an answer to a kill where nodes have their sessions. */
const awayMilliseconds = 12_000
const timeoutMilliseconds = 240_000

beforeAll(async () => {
  installation = await TestInstallation.create()
  await installation.startServer()
  await installation.addNodes(nodes)
}, timeoutMilliseconds)
afterAll(() => installation.remove(), timeoutMilliseconds)

test(
  "W9, I19: a node whose reports died with the server, and which is not back when the next one kills, is told as it ended",
  { timeout: timeoutMilliseconds },
  async () => {
    const { agent } = installation.node("a")
    agent.child.kill("SIGSTOP")
    const id = await startRun(installation, { document, concurrency: 1, errorLimit: 0, nodes: [...nodes] })
    await installation.eventually("the order to leave", async () => {
      return (await tasksByName(installation, id)).get("a")?.state === "starting"
    })
    await installation.server.end("SIGKILL")
    // The order is in the agent's socket: it does as it was told, and nobody hears of it.
    agent.child.kill("SIGCONT")
    await installation.eventually("the node to have done it", async () => {
      return (await readEvidence(installation, id)).some(({ entries }) => entries[0]?.state === "succeeded")
    })
    agent.child.kill("SIGSTOP")
    await installation.startServer()
    await installation.client.call(executionsAbort, { execution: id, mode: "kill" })
    // Nothing that could be waited for says that the server does nothing.
    await delay(awayMilliseconds)
    agent.child.kill("SIGCONT")
    const ended = await waitForRunEnd(installation, id, 120)
    expect(ended).toMatchObject({ state: "aborted", counts: { succeeded: 1, unreachable: 0, neverStarted: 1 } })
    const [evidence] = await readEvidence(installation, id)
    expect(evidence).toMatchObject({ begun: [`${id}/0/1/task/0`], entries: [{ state: "succeeded", ranTwice: false }] })
    expect(await readFile(join(installation.node("a").root, stateFile), "utf8")).toBe(`${id}/0/1/task/0\n`)
  },
)
