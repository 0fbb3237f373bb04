import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { approvalRequestsApprove } from "@signalbox/contracts/approvals/answers"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { approvalRequestsList } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { serviceAccountsCreate } from "@signalbox/contracts/identity/people"
import { keysCreate } from "@signalbox/contracts/identity/operations"
import { executionsCreate } from "@signalbox/contracts/workflows/operations"
import { createClient } from "@signalbox/sdk/client"
import { afterAll, beforeAll, expect, test } from "vitest"
import { TestInstallation } from "./processes.fixture.ts"
import { getRun, waitForRunEnd } from "./run-evidence.fixture.ts"

/** A run that waits for people while its server and its agents are killed. */
let installation: TestInstallation
let adaKey: string
const names = ["web-1", "web-2"]

beforeAll(async () => {
  installation = await TestInstallation.create()
  await installation.startServer()
  await installation.succeed(["login", "--local", "--data", installation.data])
  await installation.addNodes(names)
  const { client } = installation
  const made = async <T>(reply: Promise<{ status: "done"; value: T } | { status: "held" }>): Promise<T> => {
    const given = await reply
    if (given.status === "held") throw new Error("held")
    return given.value
  }
  const ada = await made(client.call(serviceAccountsCreate, { name: "ada", roles: ["approver"] }))
  adaKey = (await made(client.call(keysCreate, { name: "ada", roles: ["approver"], owner: ada.id }))).key
  await made(client.call(approvalGroupsApply, { name: "leads", members: [{ principal: ada.id }] }))
  const levels = [{ name: "leads", group: "leads", strategy: { kind: "any" as const } }]
  await made(client.call(templatesApply, { name: "one", levels }))
}, 120_000)
afterAll(() => installation.remove())

const log = (name: string): Promise<string> =>
  readFile(join(installation.node(name).root, "log.txt"), "utf8").catch(() => "")

test(
  "W2: server and agents are killed while people are asked: asked once, answered once, and no step runs twice",
  { timeout: 240_000 },
  async () => {
    const steps = [
      { run: "echo before >> log.txt" },
      { name: "ask the leads", approval: { template: "one", message: "Is it announced?" } },
      { run: "echo after >> log.txt" },
    ]
    const document = JSON.stringify({ kind: "Workflow", name: "careful", concurrency: 2, timeout: "60s", steps })
    const reply = await installation.client.call(executionsCreate, { document, targets: { nodes: names } })
    if (reply.status === "held") throw new Error("held")
    const { id } = reply.value
    const waiting = async () => {
      const run = await getRun(installation, id)
      return run.inFlight === 2 && run.waitsFor?.for === "approval" && run.approvals?.[0]?.request
    }
    const request = await installation.eventually("the run to wait for people", waiting)
    for (const name of names)
      await installation.eventually("the first step", async () => (await log(name)) !== "" && true)
    expect(await installation.succeed(["executions", "get", id])).toContain(`waits for approval ${request}`)

    await installation.server.end("SIGKILL")
    await installation.node("web-1").agent.end("SIGKILL")
    await installation.startServer()
    installation.restartAgent("web-1")
    await installation.waitForNodes(2)
    await installation.node("web-2").agent.end("SIGTERM")
    installation.restartAgent("web-2")
    await installation.waitForNodes(2)
    expect((await getRun(installation, id)).waitsFor?.for).toBe("approval")

    const { url, caPem } = await installation.admin()
    const members = createClient({ url, key: adaKey, ...(caPem === undefined ? {} : { caPem }) })
    const { items } = await members.call(approvalRequestsList, { mine: "true" })
    expect(items.map((item) => item.id)).toEqual([request])
    await members.call(approvalRequestsApprove, { request, digest: items[0]?.digest ?? "" })
    await members.close()
    const ended = await waitForRunEnd(installation, id, 120)
    expect(ended.state, JSON.stringify(ended)).toBe("succeeded")
    for (const name of names) expect(await log(name)).toBe("before\nafter\n")
  },
)
