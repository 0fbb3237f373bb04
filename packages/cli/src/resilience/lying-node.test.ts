import { randomUUID } from "node:crypto"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { TaskOutcome } from "@signalbox/contracts/fleet/agent-protocol"
import { enrollmentKeysCreate, nodesRemove } from "@signalbox/contracts/fleet/operations"
import { accountsCreate } from "@signalbox/contracts/identity/operations"
import { executionsCreate, executionsGet, tasksGet } from "@signalbox/contracts/workflows/operations"
import { type Client, createClient } from "@signalbox/sdk/client"
import { type Reachable, TestMachine } from "@signalbox/server/services/fleet/fleet.fixture"
import { afterAll, beforeAll, expect, test } from "vitest"
import { TestInstallation } from "./processes.fixture.ts"
import { getRun, startRun, tasksByName, waitForRunEnd } from "./run-evidence.fixture.ts"

/**
 * A node with a good key that lies about work, against a whole server. That it can't lie about who it is, that frames
 * which don't fit the protocol end its session, and floods: packages/server/src/services/fleet/sessions.test.ts.
 */
let installation: TestInstallation
let server: Reachable
let stranger: Client

beforeAll(async () => {
  installation = await TestInstallation.create()
  await installation.startServer({ words: ["--insecure"] })
  await installation.addNodes(["honest"])
  const { url } = await installation.admin()
  server = { url, call: (operation, input, options) => callWithToken(url, operation, { input, token: options?.token }) }
  const made = await installation.client.call(accountsCreate, { id: "other" })
  if (made.status === "held") throw new Error("held")
  stranger = createClient({ url, key: made.value.key })
})
afterAll(async () => {
  await installation.remove()
  await stranger.close()
})

const good: TaskOutcome = { state: "succeeded", steps: [] }
const bad: TaskOutcome = { state: "failed", class: "command", message: "exit code 1", steps: [] }
const quick = (name: string, run: string) =>
  JSON.stringify({ kind: "Workflow", name, timeout: "60s", steps: [{ run }] })

async function enroll(client: Client, name: string): Promise<TestMachine> {
  const reply = await client.call(enrollmentKeysCreate, { usesMax: 1 })
  if (reply.status === "held") throw new Error("held")
  const machine = new TestMachine()
  await machine.enroll(server, reply.value.key, { name })
  return machine
}

test("X7, W9: what a node says of tasks that are not its own, or not yet, or twice, changes nothing and gets nothing", async () => {
  const liar = await enroll(installation.client, "liar")
  const foreigner = await enroll(stranger, "foreigner")
  const document = quick("wait", "until [ -e go ]; do sleep 0.05; done")
  const nodes = ["honest", "liar"]
  const ours = await startRun(installation, { document, concurrency: 1, errorLimit: 5, nodes })
  const reply = await stranger.call(executionsCreate, { document, targets: { nodes: ["foreigner"] } })
  if (reply.status === "held") throw new Error("held")
  const theirs = reply.value.id
  await installation.eventually(
    "the honest node to work",
    async () => (await getRun(installation, ours)).counts.running,
  )

  const lies = await liar.connect(server, { open: [{ key: `${ours}/0/1`, phase: "task", state: "finished" }] })
  const foreign = await foreigner.connect(server)
  expect((await foreign.waitFor("start")).key).toBe(`${theirs}/0/1`)
  const keys = [`${ours}/0/1`, `${ours}/1/1`, `${ours}/1/2`, `${ours}/0/2`, `${ours}/7/1`, `${theirs}/0/1`]
  for (const key of keys) {
    for (const phase of ["task", "rollback"] as const) {
      lies.send({ type: "accepted", key, phase })
      lies.send({ type: "started", key, phase, at: "2030-01-01T00:00:00.000Z" })
    }
    lies.send({ type: "progress", key, step: 0, stepsCount: 1, name: "a lie", percent: 100 })
    lies.send({ type: "output", key, step: 0, stream: "stdout", offset: 0, text: "a lie" })
    lies.send({ type: "task-finished", key, outcome: bad })
    lies.send({ type: "rollback-finished", key, outcome: { state: "rolled-back", restored: 0, undone: [] } })
  }
  // A report of a run that was never there is acknowledged, since no owner ever will: so far all lies were heard.
  const unheardOf = `exe_${"0".repeat(26)}/0/1`
  lies.send({ type: "task-finished", key: unheardOf, outcome: bad })
  expect((await lies.waitFor("acknowledge")).key).toBe(unheardOf)
  foreign.send({ type: "task-finished", key: `${ours}/0/1`, outcome: bad })
  foreign.send({ type: "task-finished", key: `${theirs}/0/1`, outcome: good })
  foreign.send({ type: "task-finished", key: `${theirs}/0/1`, outcome: bad })
  expect((await foreign.waitFor("acknowledge")).key).toBe(`${theirs}/0/1`)
  expect(installation.server.log).toContain("fleet.unknown-task")
  const during = await getRun(installation, ours)
  expect(during).toMatchObject({ state: "running", counts: { running: 1, queued: 1, failed: 0, succeeded: 0 } })
  expect(lies.frames).toEqual([])

  await writeFile(join(installation.node("honest").root, "go"), "")
  // Its turn has come; of two ends the first counts, whatever is said of other attempts.
  expect((await lies.waitFor("start")).key).toBe(`${ours}/1/1`)
  lies.send({ type: "task-finished", key: `${ours}/1/9`, outcome: good })
  lies.send({ type: "task-finished", key: `${ours}/1/1`, outcome: bad })
  lies.send({ type: "task-finished", key: `${ours}/1/1`, outcome: good })
  expect(await waitForRunEnd(installation, ours)).toMatchObject({
    state: "incomplete",
    counts: { succeeded: 1, failed: 1, rolledBack: 0 },
  })
  await installation.eventually("its end to be acknowledged", async () =>
    lies.frames.some((frame) => frame.type === "acknowledge" && frame.key === `${ours}/1/1`),
  )
  lies.send({ type: "task-finished", key: `${ours}/1/1`, outcome: good })
  const tasks = await tasksByName(installation, ours)
  expect(tasks.get("honest")).toMatchObject({ state: "succeeded", attempt: 1 })
  expect(tasks.get("liar")).toMatchObject({ state: "failed", rollback: "none", attempt: 1 })
  const told = await installation.client.call(tasksGet, { execution: ours, task: "honest" })
  expect(JSON.stringify(told)).not.toContain("a lie")
  expect(await stranger.call(executionsGet, { execution: theirs })).toMatchObject({
    counts: { succeeded: 1, failed: 0 },
  })
  await expect(stranger.call(executionsGet, { execution: ours })).rejects.toMatchObject({
    code: "executions.not-found",
  })
  // Nothing of the other account's ever came to it, and of its own account only its own task.
  expect(lies.frames.filter((frame) => frame.type !== "acknowledge")).toEqual([])
  lies.end()
  foreign.end()
})

test("X7: a node may not call what people may, and a removed one not even what it could; the server goes on", async () => {
  const liar = await enroll(installation.client, "curious")
  const code = async (operation: string, input: object) =>
    await server.call(operation, input, { token: await liar.token() }).then(
      () => "it worked",
      (error: { code?: string }) => error.code,
    )
  expect(await code("nodes.list", {})).toBe("identity.permission-denied")
  expect(await code("executions.create", { document: quick("x", "true"), targets: { all: true } })).toBe(
    "identity.permission-denied",
  )
  await installation.client.call(nodesRemove, { node: "curious" })
  expect(await code("nodes.list", {})).toBe("fleet.agent-identity-refused")
  const document = quick("still", "true")
  const run = await startRun(installation, { document, concurrency: 1, errorLimit: 0, nodes: ["honest"] })
  expect(await waitForRunEnd(installation, run)).toMatchObject({ state: "succeeded" })
})

async function callWithToken<T>(
  url: string,
  operation: string,
  call: { readonly input: object; readonly token: string | undefined },
): Promise<T> {
  const response = await fetch(`${url}/v1/operations/${operation}`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${call.token}`,
      "content-type": "application/json",
      "idempotency-key": randomUUID(),
    },
    body: JSON.stringify(call.input),
  })
  const body = (await response.json()) as { code?: string; detail?: string }
  if (!response.ok) throw Object.assign(new Error(body.detail), { code: body.code })
  return body as T
}
