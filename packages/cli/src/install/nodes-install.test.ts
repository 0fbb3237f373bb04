import { enrollmentKeysList, nodesGet } from "@signalbox/contracts/fleet/operations"
import { spawn } from "node:child_process"
import { access, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterAll, beforeAll, expect, test, vi } from "vitest"
import { findMarkedProcesses, TestInstallation } from "../resilience/processes.fixture.ts"
import { makeSshKey, SshMachine } from "./ssh-server.fixture.ts"

/** Real machines as far as ssh goes: each has its port, its home and its agent; they share this one's kernel. */
vi.setConfig({ testTimeout: 180_000 })
let installation: TestInstallation
let directory: string
let inventory: string
const machines = new Map<string, SshMachine>()
const names = ["web1", "web2", "bare"]
const tools = [
  "sh",
  "sed",
  "cat",
  "tr",
  "id",
  "uname",
  "mkdir",
  "rm",
  "mv",
  "tar",
  "gzip",
  "chmod",
  "touch",
  "seq",
  "sleep",
  "setsid",
  "nohup",
  "cmp",
  "kill",
]

beforeAll(async () => {
  installation = await TestInstallation.create()
  await installation.startServer()
  directory = await mkdtemp(join(tmpdir(), "signalbox ssh "))
  const [user, host] = [makeSshKey(), makeSshKey()]
  const keyFile = join(directory, "user key")
  await writeFile(keyFile, user.privateKey, { mode: 0o600 })
  const known: string[] = []
  for (const name of names) {
    const home = join(directory, `home of ${name}`)
    await mkdir(home)
    // One machine has no Node.js of its own: nothing but these programs.
    const path = name === "bare" ? await makeBarePath() : `${dirname(process.execPath)}:${process.env["PATH"]}`
    const machine = new SshMachine({ home, path, hostKey: host.privateKey, userKey: user.publicKey })
    await machine.listen()
    machines.set(name, machine)
    known.push(`[127.0.0.1]:${machine.port} ${host.publicKey}`)
  }
  await writeFile(join(directory, "known_hosts"), `${known.join("\n")}\n`)
  inventory = join(directory, "hosts.ini")
  const line = (name: string) => `${name} ansible_port=${machineOf(name).port}`
  await writeFile(
    inventory,
    [
      ...["[web]", line("web1"), line("web2"), "[db]", line("bare"), "[site:children]", "web", "db", "[all:vars]"],
      ...["ansible_host=127.0.0.1", "ansible_user=operator", `ansible_ssh_private_key_file=${JSON.stringify(keyFile)}`],
    ].join("\n"),
  )
}, 120_000)

afterAll(async () => {
  await Promise.all([...machines.values()].map((machine) => machine.close()))
  for (const processId of await findMarkedProcesses(`HOME=${directory}`)) process.kill(processId, "SIGTERM")
  await installation?.remove()
  await installation?.eventually("the homes to be removed", () =>
    rm(directory, { recursive: true, force: true }).then(
      () => true,
      () => false,
    ),
  )
})

function machineOf(name: string): SshMachine {
  const machine = machines.get(name)
  if (!machine) throw new Error(`there is no machine ${name}`)
  return machine
}

async function makeBarePath(): Promise<string> {
  const folder = join(directory, "bare programs")
  await mkdir(folder)
  for (const tool of tools) {
    for (const place of ["/usr/bin", "/bin"]) {
      const found = await access(join(place, tool)).then(
        () => true,
        () => false,
      )
      if (!found) continue
      await symlink(join(place, tool), join(folder, tool))
      break
    }
  }
  return folder
}

const sshOptions = () => [
  ...["--ssh-option", `UserKnownHostsFile="${join(directory, "known_hosts")}"`],
  ...["--ssh-option", "GlobalKnownHostsFile=/dev/null", "--ssh-option", "IdentitiesOnly=yes"],
]

const install = async (...words: string[]) => {
  const common = [
    "nodes",
    "install",
    "--ssh",
    "-i",
    inventory,
    "--prefix",
    "the program",
    "--data",
    "the data",
    "--no-service",
  ]
  const url = ["--server-url", (await installation.admin()).url]
  const ran = await installation.run([...common, ...url, ...sshOptions(), "--json", ...words], await loggedIn())
  const shown = ran.stdout === "" ? {} : (JSON.parse(ran.stdout) as { plan?: unknown; results?: unknown })
  return { ...ran, plan: shown.plan, results: shown.results }
}

async function loggedIn(): Promise<NodeJS.ProcessEnv> {
  const { url, key, caPem } = await installation.admin()
  const caFile = join(directory, "ca.pem")
  if (caPem !== undefined) await writeFile(caFile, caPem)
  return { SIGNALBOX_SERVER: url, SIGNALBOX_KEY: key, ...(caPem === undefined ? {} : { SIGNALBOX_CA_FILE: caFile }) }
}

const keys = async () => (await installation.client.call(enrollmentKeysList, { limit: 1000 })).items

test("--dry-run looks at every machine, and changes nothing", async () => {
  const { plan, code, stderr } = await install("--dry-run", "--tag-from-groups")
  expect(code, stderr).toBe(0)
  expect(plan).toMatchObject([
    { host: "bare", action: "install", tags: { "group.db": "", "group.site": "" } },
    { host: "web1", action: "install", tags: { "group.site": "", "group.web": "" } },
    { host: "web2", action: "install" },
  ])
  for (const machine of machines.values()) expect(await readdir(machine.home)).toEqual([])
  expect(await keys()).toEqual([])
})

test("X7: machines of an inventory become nodes by ssh, with the tags of their groups and a key for as many", async () => {
  const { results, code, stderr } = await install("--tag-from-groups", "--tag", "env=test", "--limit", "web")
  expect(results, stderr).toMatchObject([
    { host: "web1", result: "installed", state: "online" },
    { host: "web2", result: "installed", state: "online" },
  ])
  expect(code).toBe(0)
  const node = await installation.client.call(nodesGet, { node: "web2" })
  expect(node.tags).toEqual({ env: "test", "group.site": "", "group.web": "" })
  expect(await keys()).toMatchObject([{ usesMax: 2, usesCount: 2, revokedAt: expect.any(String) as unknown }])
  // The key went by standard input: no list of processes showed it.
  for (const machine of machines.values()) expect(machine.commands.join("\n")).not.toMatch(/sbx_|enk_/)
  expect(await readFile(join(machineOf("web1").home, "the data", "agent.log"), "utf8")).toContain("session open")
})

test("a second call leaves alone what is there, and brings what is missing, with its own Node.js", async () => {
  const before = machineOf("web1").commands.length
  const { results, code, stderr } = await install()
  expect(results, stderr).toMatchObject([
    { host: "bare", result: "installed", state: "online" },
    { host: "web1", result: "unchanged" },
    { host: "web2", result: "unchanged" },
  ])
  expect(code).toBe(0)
  expect(machineOf("web1").commands.length - before).toBe(1)
  const program = await readdir(join(machineOf("bare").home, "the program"))
  expect(program.filter((name) => name.startsWith("node-"))).toHaveLength(1)
  expect((await readdir(join(machineOf("web1").home, "the program"))).some((name) => name.startsWith("node-"))).toBe(
    false,
  )
})

test("an agent that ended is started, another version of the program is replaced, and the node stays the same one", async () => {
  const { home } = machineOf("web1")
  const { id } = await installation.client.call(nodesGet, { node: "web1" })
  await stopAgent("web1")
  const command = join(home, "the program", "signalbox-agent")
  await writeFile(command, (await readFile(command, "utf8")).replace(/^# program .*$/m, "# program 0123456789ab"))
  await mkdir(join(home, "the program", "program-0123456789ab"))
  await stopAgent("web2")
  // After a crash the lock stays, and another process may have the agent's number.
  const stranger = spawn("sleep", ["300"])
  for (const name of ["web1", "web2"])
    await writeFile(
      join(machineOf(name).home, "the data", "lock"),
      JSON.stringify({ pid: stranger.pid, startTime: "1" }),
    )
  const { results, stderr } = await install("--limit", "web")
  expect(results, stderr).toMatchObject([
    { host: "web1", result: "updated", state: "online" },
    { host: "web2", result: "started", state: "online" },
  ])
  expect(stranger.signalCode).toBe(null)
  stranger.kill()
  expect((await installation.client.call(nodesGet, { node: "web1" })).id).toBe(id)
  expect(await readdir(join(home, "the program"))).not.toContain("program-0123456789ab")
})

test("what fails on one machine is said of it, and is no matter of the others", async () => {
  const wrong = join(directory, "wrong.ini")
  const text = await readFile(inventory, "utf8")
  await writeFile(wrong, text.replace("[db]", "[gone]\nsilent ansible_port=1\n[db]"))
  const common = ["nodes", "install", "-i", wrong, "--prefix", "the program", "--data", "the data", "--no-service"]
  const ran = await installation.run([...common, ...sshOptions()], await loggedIn())
  expect(ran.code).toBe(1)
  expect(ran.stdout).toMatch(/silent\s+silent\s+failed\s+-\s+ssh failed: .*refused/)
  expect(ran.stdout).toMatch(/web1\s+web1\s+unchanged/)
})

test("`nodes import` makes node groups and tags of an inventory's groups", async () => {
  const words = ["nodes", "import", "-i", inventory, "--json"]
  const dry = await installation.run([...words, "--dry-run"], await loggedIn())
  expect(JSON.parse(dry.stdout)).toMatchObject({
    groups: [{ group: "db", query: "group.db" }, { group: "site" }, { group: "web", query: "group.web" }],
    hosts: [{ host: "bare", result: "tagged" }, { result: "unchanged" }, { result: "unchanged" }],
  })
  expect((await installation.run(["groups", "get", "db"], await loggedIn())).code).toBe(5)
  expect((await installation.run(words, await loggedIn())).code).toBe(0)
  const again = await installation.run(words, await loggedIn())
  expect(JSON.parse(again.stdout)).toMatchObject({ hosts: [{ host: "bare", result: "unchanged" }, {}, {}] })
  const listed = await installation.succeed(["nodes", "list", "--group", "site", "--json"], await loggedIn())
  expect((JSON.parse(listed) as { items: unknown[] }).items).toHaveLength(3)
})

async function stopAgent(name: string): Promise<void> {
  const lock = join(machineOf(name).home, "the data", "lock")
  const { pid } = JSON.parse(await readFile(lock, "utf8")) as { pid: number }
  process.kill(pid, "SIGTERM")
  await installation.eventually(`the agent of ${name} to end`, async () =>
    access(lock).then(
      () => false,
      () => true,
    ),
  )
}
