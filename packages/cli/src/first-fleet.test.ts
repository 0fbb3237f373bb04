import { spawn, spawnSync, type ChildProcess } from "node:child_process"
import { chmod, mkdir, mkdtemp, readFile, rm } from "node:fs/promises"
import { createServer, type AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, expect, test } from "vitest"

/**
 * Runs the commands of docs/first-fleet.md as they stand, in their order, on this one machine: the server's and the
 * node's parts share it, and variables (not other commands) keep them off the machine's real places and files.
 */
const repository = fileURLToPath(new URL("../../../", import.meta.url))
const servicesRunSeconds = 120
const groupEndSeconds = 30

let workspace: string
let environment: NodeJS.ProcessEnv
const running: ChildProcess[] = []

beforeAll(async () => {
  workspace = await mkdtemp(join(tmpdir(), "signalbox first fleet "))
  // As in /var/lib: PostgreSQL runs under another user when this is root, and has to pass through.
  await chmod(workspace, 0o755)
  await mkdir(join(workspace, "root"))
  const port = await freePort()
  environment = {
    ...process.env,
    PATH: `${join(repository, "node_modules", ".bin")}:${process.env["PATH"]}`,
    HOME: workspace,
    XDG_CONFIG_HOME: join(workspace, "config"),
    SIGNALBOX_DATA: join(workspace, "server data"),
    SIGNALBOX_PORT: String(port),
    SIGNALBOX_PUBLIC_URL: `https://127.0.0.1:${port}`,
    SIGNALBOX_AGENT_DATA: join(workspace, "agent data"),
    SIGNALBOX_LOG_LEVEL: "error",
    SIGNALBOX_AGENT_ROOT: join(workspace, "root"),
    npm_config_update_notifier: "false",
  }
  delete environment["DATABASE_URL"]
})

afterAll(async () => {
  for (const child of running.toReversed()) if (child.pid !== undefined) await endGroup(child.pid)
  await rm(workspace, { recursive: true, force: true })
}, groupEndSeconds * 2000)

test("D28: the guide's commands work as they stand, as far as one machine allows", { timeout: 180_000 }, async () => {
  const blocks = shellBlocks(await readFile(join(repository, "docs", "first-fleet.md"), "utf8"))
  expect(blocks.length).toBeGreaterThanOrEqual(7)
  const said = new Map<string, string>()
  for (const block of blocks) {
    for (const command of block) {
      if (/ serve\b| agent run\b/.test(command)) start(command)
      else said.set(command, await execute(command))
      if (command.includes("enrollment-keys create")) takeEnrollmentCommand(said.get(command) ?? "")
    }
  }
  const find = (part: string): string => [...said].find(([command]) => command.includes(part))?.[1] ?? ""
  expect(find("nodes list")).toContain("web-1")
  expect(JSON.parse(find("nodes inventory"))).toMatchObject({ inventory: { os: { architecture: expect.any(String) } } })
  expect(find("exec -t")).toContain("Linux")
  expect(await readFile(join(workspace, "root", "etc", "motd"), "utf8")).toBe("hello from signalbox\n")
  expect(find("why web-1")).toContain("enrolled")
})

test("D28: the systemd units are sound, and start what they say", () => {
  for (const [unit, words] of [
    ["signalbox-agent.service", "agent run"],
    ["signalbox-server.service", "serve"],
  ] as const) {
    const path = join(repository, "examples", unit)
    const verified = spawnSync("systemd-analyze", ["verify", path], { encoding: "utf8" })
    // Where there is no systemd at all, only the command below can be tried.
    if (verified.error === undefined)
      expect(verified.stderr.split("\n").filter((line) => line.includes(unit))).toEqual([])
    const command =
      /^ExecStart=\/usr\/bin\/env (.*)$/m.exec(spawnSync("cat", [path], { encoding: "utf8" }).stdout)?.[1] ?? ""
    expect(command).toContain(words)
    const help = spawnSync("sh", ["-c", `${command} --help`], { env: environment, encoding: "utf8" })
    expect(help.status, help.stderr).toBe(0)
  }
})

/** The commands of each ```sh block, a line each. */
function shellBlocks(text: string): string[][] {
  return [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, body = ""]) =>
    body.split("\n").filter((line) => line.trim() !== ""),
  )
}

function start(command: string): void {
  running.push(
    spawn("sh", ["-c", `exec ${command}`], {
      cwd: repository,
      env: environment,
      stdio: ["ignore", "ignore", "inherit"],
      detached: true,
    }),
  )
}

/**
 * Ends a command with all that it started: npx keeps a signal to itself and is gone at once, while the server behind it
 * still stops its database. So the whole group is told, and waited for.
 */
async function endGroup(group: number): Promise<void> {
  const end = Date.now() + groupEndSeconds * 1000
  for (let signal: NodeJS.Signals | 0 = "SIGTERM"; isTold(group, signal) && Date.now() < end; signal = 0)
    await new Promise((resolve) => setTimeout(resolve, 100))
}

/** False where no process of the group is left. */
function isTold(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-group, signal)
  } catch {
    return false
  }
}

/** Runs a command; while the server or the agent it needs is still starting, again. */
async function execute(command: string): Promise<string> {
  for (const end = Date.now() + servicesRunSeconds * 1000; ;) {
    const result = spawnSync("sh", ["-c", command], { cwd: repository, env: environment, encoding: "utf8" })
    const early = command.includes("inventory web-1") && !result.stdout.includes('"inventory"')
    if (result.status === 0 && !early) return result.stdout
    const starting = /cli\.no-server|executions\.no-targets|ECONNREFUSED/.test(result.stderr) || early
    expect(starting && Date.now() < end, `${command}: ${result.stderr}`).toBe(true)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** What a person would paste from the reply of step 3. */
function takeEnrollmentCommand(output: string): void {
  const [, url = "", key = "", fingerprint = ""] =
    /--server (\S+) --key (\S+) --ca-fingerprint (\S+)/.exec(output) ?? []
  Object.assign(environment, { SERVER_URL: url, ENROLLMENT_KEY: key, CA_FINGERPRINT: fingerprint })
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once("error", reject)
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as AddressInfo
      probe.close(() => resolve(port))
    })
  })
}
