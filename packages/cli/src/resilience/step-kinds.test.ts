import { spawnSync } from "node:child_process"
import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { zstdDecompressSync } from "node:zlib"
import { nodesGet, resourcesApply } from "@signalbox/contracts/fleet/operations"
import { executionsCreate, tasksGet } from "@signalbox/contracts/workflows/operations"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { TestInstallation } from "./processes.fixture.ts"
import { tasksByName, waitForRunEnd } from "./run-evidence.fixture.ts"

/** Every kind of step on a whole system: a server, an agent, a load balancer's interface, a service of the node. */
const password = "correct-horse-battery"
let installation: TestInstallation
let balancer: Server
let base: string
let calls: Array<{ line: string; authorization: string | undefined }>

beforeAll(async () => {
  balancer = createServer((request, response) => {
    calls.push({ line: `${request.method} ${request.url}`, authorization: request.headers.authorization })
    response.writeHead(request.url === "/broken" ? 500 : 200, { "content-type": "application/json" })
    response.end(JSON.stringify({ state: "drained", connections: 0, echo: request.headers.authorization }))
  })
  await new Promise<void>((resolve) => balancer.listen(0, "127.0.0.1", resolve))
  base = `http://127.0.0.1:${(balancer.address() as AddressInfo).port}`
  calls = []
  installation = await TestInstallation.create()
  await installation.startServer({ variables: { SIGNALBOX_EGRESS_ALLOW: "127.0.0.1" } })
  await installation.succeed(["login", "--local", "--data", installation.data])
  await installation.addNodes(["web-1"])
  await writeFile(join(installation.directory, "password.txt"), password)
  await installation.succeed(["secrets", "put", "db-password", "-f", "password.txt"])
  await writeFile(join(installation.directory, "app.bin"), Buffer.alloc(300_000, "signalbox"))
  await installation.succeed(["artifacts", "push", "app.bin", "--name", "app"])
  await installService()
}, 120_000)
afterAll(async () => {
  balancer.close()
  await installation.remove()
})

/** A service of the node, as init scripts are: it notes what it is told, and says whether it runs. */
async function installService(): Promise<void> {
  const { root } = installation.node("web-1")
  const script = [
    "#!/bin/sh",
    `cd "$(dirname "$0")/../.."`,
    `echo "$1" >> service.log`,
    "case $1 in",
    "  start|restart) cp etc/app.conf running.conf ;;",
    "  stop) rm -f running.conf ;;",
    "  status) [ -e running.conf ] || exit 3 ;;",
    "esac",
  ]
  await mkdir(join(root, "etc", "init.d"), { recursive: true })
  await writeFile(join(root, "etc", "init.d", "app"), `${script.join("\n")}\n`)
  await chmod(join(root, "etc", "init.d", "app"), 0o755)
  await writeFile(join(root, "etc", "app.conf"), "password = old\n", { mode: 0o640 })
  await writeFile(join(root, "running.conf"), "password = old\n")
}

async function run(steps: object[], nodes = ["web-1"], more: object = {}): Promise<string> {
  const document = JSON.stringify({ kind: "Workflow", name: "kinds", timeout: "60s", ...more, steps })
  const reply = await installation.client.call(executionsCreate, { document, targets: { nodes } })
  if (reply.status === "held") throw new Error("held")
  return reply.value.id
}

/** Everything that the installation keeps or has said: the database, logs, journals, blobs. */
async function everythingKept(): Promise<string> {
  const backup = join(installation.directory, "backup")
  await installation.succeed(["database", "backup", "--data", installation.data, backup])
  const file = await readFile(backup)
  // One line that names the format, then a compressed stream.
  const rows = zstdDecompressSync(file.subarray(file.indexOf("\n") + 1)).toString("latin1")
  expect(rows).toContain("db-password")
  const files: string[] = []
  for (const folder of [installation.node("web-1").agentDirectory, join(installation.data, "blobs")]) {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true })
    files.push(...entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)))
  }
  const parts = await Promise.all(files.map((file) => readFile(file, "latin1")))
  return [rows, ...parts, installation.server.log, installation.node("web-1").agent.log].join("\n")
}

const steps = [
  {
    id: "drain",
    http: {
      method: "POST",
      url: "BASE/drain/${{ node.name }}",
      headers: { authorization: "Bearer ${{ secrets.db-password }}" },
    },
    outputs: { connections: "result.json.connections" },
    undo: { http: { method: "POST", url: "BASE/undrain/${{ node.name }}" } },
  },
  { id: "facts", run: 'echo "version=1.4" >> "$SIGNALBOX_OUTPUT"; echo password is "${{ secrets.db-password }}"' },
  { when: 'steps.drain.outputs.connections != "0"', run: "exit 9" },
  { file: { path: "/opt/app.bin", artifact: "app", mode: "0755" } },
  {
    file: {
      path: "/etc/app.conf",
      content: "password = ${{ secrets.db-password }}\nversion = ${{ steps.facts.outputs.version }}\n",
    },
  },
  { service: { name: "app", state: "restarted" } },
  { wait: { path: "/running.conf" } },
  {
    operation: {
      name: "nodes.update",
      input: { node: "${{ node.name }}", tags: { version: "${{ steps.facts.outputs.version }}" } },
    },
  },
]

function withBase(...more: object[]): object[] {
  return JSON.parse(JSON.stringify([...steps, ...more]).replaceAll("BASE", base)) as object[]
}

describe("W2, X5: steps of every kind", () => {
  test("change the node, call the balancer and the server, and tell no secret", { timeout: 120_000 }, async () => {
    const { root } = installation.node("web-1")
    const id = await run(withBase())
    const ended = await waitForRunEnd(installation, id, 90)
    const task = await installation.client.call(tasksGet, { execution: id, task: "web-1" })
    expect(ended.state, JSON.stringify(task.outcome)).toBe("succeeded")
    expect(await readFile(join(root, "etc", "app.conf"), "utf8")).toBe(`password = ${password}\nversion = 1.4\n`)
    expect(await readFile(join(root, "running.conf"), "utf8")).toContain(password)
    expect((await readFile(join(root, "opt", "app.bin"))).length).toBe(300_000)
    expect(calls).toEqual([{ line: "POST /drain/web-1", authorization: `Bearer ${password}` }])
    expect((await installation.client.call(nodesGet, { node: "web-1" })).tags).toMatchObject({ version: "1.4" })
    const states = task.outcome?.steps.map(({ state }) => state)
    expect(states).toEqual(["succeeded", "succeeded", "skipped", ...Array.from({ length: 5 }, () => "succeeded")])
    expect(JSON.stringify(task)).toContain("password is ***")
    const shown = await installation.succeed(["tasks", "get", id, "web-1"])
    expect(shown).toContain("***")
    for (const kept of [JSON.stringify(task), shown, await everythingKept()]) expect(kept).not.toContain(password)
  })

  test("W6: a failure at the end puts all of it back, each kind in its own way", { timeout: 120_000 }, async () => {
    const { root } = installation.node("web-1")
    await writeFile(join(root, "etc", "app.conf"), "password = before\n")
    calls = []
    const id = await run(withBase({ run: "exit 7" }))
    const ended = await waitForRunEnd(installation, id, 90)
    const task = await installation.client.call(tasksGet, { execution: id, task: "web-1" })
    expect([ended.state, task.state, task.rollback], JSON.stringify(task.rollbackOutcome)).toEqual([
      "incomplete",
      "failed",
      "rolled-back",
    ])
    expect(await readFile(join(root, "etc", "app.conf"), "utf8")).toBe("password = before\n")
    expect(await readFile(join(root, "running.conf"), "utf8")).toBe("password = before\n")
    expect(calls.map(({ line }) => line)).toEqual(["POST /drain/web-1", "POST /undrain/web-1"])
    expect(task.rollbackOutcome?.notCovered?.join()).toContain("step 8")
  })

  const hasAnsible = spawnSync("ansible-playbook", ["--version"]).status === 0
  test.skipIf(!hasAnsible)(
    "a local Ansible playbook, where ansible-core is installed",
    { timeout: 120_000 },
    async () => {
      const content = `- hosts: localhost
  gather_facts: false
  tasks:
    - copy:
        dest: "{{ lookup('env', 'SIGNALBOX_ROOT') }}/from-ansible.txt"
        content: "{{ greeting }} {{ password }}"
    - debug: { msg: "{{ password }}" }
`
      const variables = { greeting: "from ${{ node.name }}", password: "${{ secrets.db-password }}" }
      const id = await run([{ playbook: { content, variables } }])
      await waitForRunEnd(installation, id, 90)
      const task = await installation.client.call(tasksGet, { execution: id, task: "web-1" })
      expect(task.state, JSON.stringify(task.outcome)).toBe("succeeded")
      const written = await readFile(join(installation.node("web-1").root, "from-ansible.txt"), "utf8")
      expect(written).toBe(`from web-1 ${password}`)
      expect(JSON.stringify(task)).toContain("***")
      expect(JSON.stringify(task)).not.toContain(password)
    },
  )

  test(
    "W13: a target without an agent has its steps performed by the server, or by its runner",
    { timeout: 120_000 },
    async () => {
      calls = []
      await installation.client.call(resourcesApply, { name: "pool-1", kind: "pool" })
      await installation.client.call(resourcesApply, { name: "orders-db", kind: "database", runner: "web-1" })
      const http = { http: { method: "POST", url: `${base}/drain/\${{ node.name }}` } }
      const served = await waitForRunEnd(installation, await run([http, { wait: "100ms" }], ["pool-1", "orders-db"]))
      expect(served.state).toBe("succeeded")
      expect(calls.map(({ line }) => line).toSorted()).toEqual(["POST /drain/orders-db", "POST /drain/pool-1"])
      const command = { run: "echo ${{ node.name }} > stood-in.txt" }
      const refused = await installation.run(["run", "-n", "pool-1", "--json", "-f", await document([command])])
      expect(refused.code).not.toBe(0)
      expect(refused.stdout + refused.stderr).toContain("no agent")
      const stoodIn = await run([command], ["orders-db"])
      expect((await waitForRunEnd(installation, stoodIn)).state).toBe("succeeded")
      expect(await readFile(join(installation.node("web-1").root, "stood-in.txt"), "utf8")).toBe("orders-db\n")
      expect((await tasksByName(installation, stoodIn)).get("orders-db")?.state).toBe("succeeded")
    },
  )
})

async function document(given: object[]): Promise<string> {
  const path = join(installation.directory, "workflow.yaml")
  await writeFile(path, JSON.stringify({ kind: "Workflow", name: "kinds", steps: given }))
  return path
}
