import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { afterEach, expect, it } from "vitest"
import { Workspace } from "./workspace.ts"

const waitMilliseconds = 20_000
const started: ChildProcess[] = []
afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL")
})

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + waitMilliseconds
  while (!condition()) {
    if (Date.now() > deadline) throw new Error("waited in vain")
    await delay(20)
  }
}

/** A process whose command line names the folder, as those of the demo do. */
function startIn(workspace: Workspace, name: string): ChildProcess {
  const child = workspace.start(name, ["/bin/sh", "-c", "sleep 60; :", workspace.directory], process.env)
  started.push(child)
  return child
}

it("stops its processes and services and removes its folder", async () => {
  const workspace = Workspace.create()
  const server = startIn(workspace, "server")
  const agent = startIn(workspace, "agent-web-01")
  const service = startIn(workspace, "unlisted")
  mkdirSync(workspace.path("nodes", "web-01", "root", "run"), { recursive: true })
  writeFileSync(workspace.path("nodes", "web-01", "root", "run", "pid"), `${service.pid}\n`)
  const own = [server.pid ?? 0, agent.pid ?? 0, ...workspace.serviceProcessIds()]
  await until(() => workspace.ownProcesses(own).length === 3)
  expect(await workspace.remove()).toBe(true)
  expect(workspace.ownProcesses(own)).toEqual([])
  expect(existsSync(workspace.directory)).toBe(false)
})

it("leaves a process alone that has got the number of one of its own", async () => {
  const workspace = Workspace.create()
  const stranger = spawn("sleep", ["60"])
  started.push(stranger)
  await once(stranger, "spawn")
  writeFileSync(workspace.path("processes", "agent-web-01"), `${stranger.pid}\n`)
  expect(await workspace.remove()).toBe(true)
  expect(stranger.exitCode ?? stranger.signalCode).toBeNull()
})

it("is cleared away by its guard when the demo is killed", async () => {
  const script = `
    const { Workspace } = await import(${JSON.stringify(new URL("./workspace.ts", import.meta.url).href)})
    const workspace = Workspace.create()
    const child = workspace.start("server", ["/bin/sh", "-c", "sleep 60; :", workspace.directory], process.env)
    process.stdout.write(workspace.directory + "\\n" + child.pid + "\\n")
    setInterval(() => {}, 1000)`
  const words = ["--conditions=source", "--input-type=module", "--no-warnings", "-e", script]
  const demo = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] })
  started.push(demo)
  let output = ""
  demo.stdout.on("data", (chunk: Buffer) => (output += String(chunk)))
  await until(() => output.split("\n").length === 3)
  const [directory = "", processId] = output.split("\n")
  expect(existsSync(join(directory, "stop.sh"))).toBe(true)
  demo.kill("SIGKILL")
  await until(() => !existsSync(directory))
  expect(existsSync(`/proc/${processId}/cwd`)).toBe(false)
})
