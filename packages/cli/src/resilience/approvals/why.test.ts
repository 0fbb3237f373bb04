import { existsSync } from "node:fs"
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { approvalRequestsApprove } from "@signalbox/contracts/approvals/answers"
import { associationsRemove } from "@signalbox/contracts/approvals/associations"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { nodesInventory } from "@signalbox/contracts/fleet/operations"
import { executionsCreate } from "@signalbox/contracts/workflows/operations"
import { afterAll, beforeAll, expect, test } from "vitest"
import { waitForRunEnd } from "../run-evidence.fixture.ts"
import { openApprovals, requestOf, type ApprovalsInstallation } from "./approvals-installation.fixture.ts"

/** Who is behind a package on a node, asked after everything that answered then was killed and started anew. */
let world: ApprovalsInstallation
let root: string
const timeoutMilliseconds = 300_000

const entry = (version: string): string =>
  `Package: openssl\nStatus: install ok installed\nVersion: ${version}\nArchitecture: all\nMaintainer: a <a@b>\nDescription: d\n\n`
/** What an upgrade leaves behind: the database and the package's file list. */
const upgrade = (version: string): string =>
  `printf '%b' '${entry(version).replaceAll("\n", "\\n")}' > var/lib/dpkg/status; : > var/lib/dpkg/info/openssl.list`

interface Answer {
  readonly answer: string
  readonly findings: Array<{ execution?: string; approvals: Array<{ text: string; data: Record<string, unknown> }> }>
}

const why = async (...words: string[]): Promise<string> => await world.installation.succeed(["why", ...words])

beforeAll(async () => {
  world = await openApprovals()
  const { installation } = world
  root = join(installation.directory, "web-3", "root")
  await mkdir(join(root, "var/lib/dpkg/info"), { recursive: true })
  await writeFile(join(root, "var/lib/dpkg/status"), entry("3.0.1"))
  await installation.client.call(associationsRemove, { name: "keys" })
  await installation.addNodes(["web-3"])
  await installation.succeed(["login", "--local"])
}, timeoutMilliseconds)
afterAll(() => world.stop(), timeoutMilliseconds)

test.runIf(existsSync("/usr/bin/dpkg-query"))(
  "X4: why, by package, by node and by id, names approver, digest and run after kill -9 and a restart",
  async () => {
    const { installation } = world
    const isListed = async () => JSON.stringify(await installation.client.call(nodesInventory, { node: "web-3" }))
    await installation.eventually("the packages", async () => (await isListed()).includes("3.0.1"))
    const document = JSON.stringify({ kind: "Workflow", name: "upgrade", steps: [{ run: upgrade("3.0.2") }] })
    const held = await world.as("requester").call(executionsCreate, { document, targets: { nodes: ["web-3"] } })
    const request = requestOf(held)
    const { digest } = await world.as("ada").call(approvalRequestsGet, { request })
    await world.as("ada").call(approvalRequestsApprove, { request, digest, comment: "after the backup" })
    const execution = await installation.eventually("the run", async () => {
      const { findings } = JSON.parse(await why("node", "web-3", "--json")) as Answer
      return findings[0]?.execution
    })
    expect(await waitForRunEnd(installation, execution, 120)).toMatchObject({ state: "succeeded" })
    await installation.eventually("the new version", async () => (await isListed()).includes("3.0.2"))

    await installation.server.end("SIGKILL")
    await world.start()
    const content = `(SHA-256 ${digest.slice(0, 16)}…)`
    for (const question of [
      ["node", "web-3", "package", "openssl"],
      ["node", "web-3"],
    ]) {
      const { findings } = JSON.parse(await why(...question, "--json")) as Answer
      expect(findings).toMatchObject([{ execution }])
      const [finding] = findings
      expect(finding?.approvals.map(({ data }) => data["digest"])).toEqual([digest, digest, digest])
      const texts = finding?.approvals.map(({ text }) => text) ?? []
      expect(texts[0]).toBe(`ada approved at level only ${content}`)
      expect(texts[2]).toBe(`what was approved ran: executions.create ${content}`)
      const told = await why(...question)
      for (const text of texts) expect(told).toContain(text)
    }
    for (const id of [execution, request]) {
      const told = await why(id)
      expect(told).toContain(`ada approved at level only ${content}`)
      expect(told).toContain(`what was approved ran: executions.create ${content}`)
      expect(told).toContain(execution)
    }
  },
  timeoutMilliseconds,
)
