import { spawnSync } from "node:child_process"
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TaskOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { type RunningAgent, startAgent } from "./agent.ts"
import { policyDigest, PolicyGuard, readPolicy } from "./policy-file.ts"
import { makeMachine, newKey, orderOf, shell, type TestMachine } from "./protocol-server.fixture.ts"

let directory: string
let file: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox policy "))
  file = join(directory, "policy.yaml")
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const noApprovals = () => Promise.reject(new Error("no policy here wants approvals"))
const judged = (order: TaskOrder) => {
  const { signal: stop } = new AbortController()
  return { key: `exe_${"0".repeat(26)}/0/1`, order, startBefore: 0, stop }
}
const write = (text: string) => writeFile(file, text, { mode: 0o644 })
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

describe("reading", () => {
  test("comments and layout are no part of a policy's digest, its rules are", async () => {
    await write("# ours\nusers: [app]\ndurationMax: 10m\n")
    const first = policyDigest(await readPolicy(file))
    await write('{"durationMax": "10m", "users": ["app"]}')
    expect(policyDigest(await readPolicy(file))).toBe(first)
    await write("users: [app, root]\ndurationMax: 10m\n")
    expect(policyDigest(await readPolicy(file))).not.toBe(first)
  })

  test.each([
    ["requireApproval: true", "requireApproval"],
    ["users: app", "users"],
    ["users: [app", "can't be read"],
    ["commands: {shells: [uptime]}", "commands.shells.0"],
    ["- users", "not understood"],
    ["paths: [/etc/../root]", "absolute paths"],
  ])("%s is damaged, and says where", async (text, said) => {
    await write(text)
    const error = await failure(readPolicy(file))
    expect(error).toMatchObject({ code: "agent.policy-damaged" })
    expect((error as Error).message).toContain(said)
  })

  test("a file that others may write to is damaged", async () => {
    await write("users: [app]")
    await chmod(file, 0o666)
    expect(await failure(readPolicy(file))).toMatchObject({ code: "agent.policy-damaged" })
  })
})

test("the agent starts under a user id that the machine has no name for", () => {
  // Another user could not reach this folder everywhere, so Node is told to have found no name.
  const nameless = `import os from "node:os"
    import { syncBuiltinESMExports } from "node:module"
    os.userInfo = () => { throw new Error("uv_os_get_passwd") }
    syncBuiltinESMExports()`
  const preload = ["--import", `data:text/javascript,${encodeURIComponent(nameless)}`]
  const module = new URL("./policy-file.ts", import.meta.url).href
  const words = ["--conditions=source", "--input-type=module", "-e", `await import(${JSON.stringify(module)})`]
  const nobody = spawnSync(process.execPath, [...preload, ...words], { encoding: "utf8" })
  expect([nobody.status, nobody.stderr]).toEqual([0, ""])
})

describe("an agent's policy", () => {
  const order = orderOf([shell("true")])

  test("that has to be there and isn't refuses everything", async () => {
    const guard = new PolicyGuard(file, noApprovals)
    expect(await guard.state()).toEqual({ state: "damaged" })
    expect((await guard.refuses(judged(order), directory))?.message).toContain("refuses every order")
  })

  test("a change holds from the next order on, and taking the file away opens nothing", async () => {
    const guard = new PolicyGuard(file, noApprovals)
    await write("steps: [command]")
    expect(await guard.refuses(judged(order), directory)).toBeUndefined()
    await write("steps: [file]")
    expect((await guard.refuses(judged(order), directory))?.message).toContain("(steps)")
    await rm(file)
    expect((await guard.refuses(judged(order), directory))?.message).toContain("refuses every order")
  })

  test("a link in an allowed folder leads nowhere else", async () => {
    await mkdir(join(directory, "app"))
    await mkdir(join(directory, "secret"))
    await symlink("../secret", join(directory, "app", "link"))
    await write("paths: [/app]")
    const guard = new PolicyGuard(file, noApprovals)
    expect(await guard.refuses(judged(orderOf([shell("true")], ["app/x"])), directory)).toBeUndefined()
    expect((await guard.refuses(judged(orderOf([shell("true")], ["app/link/x"])), directory))?.message).toContain(
      "(paths)",
    )
  })
})

describe("X8: an agent with a policy", () => {
  let machine: TestMachine
  let agent: RunningAgent

  beforeEach(async () => {
    machine = await makeMachine()
    await write("commands: {programs: [echo]}")
    const { dataDirectory, root } = machine
    agent = await startAgent({ dataDirectory, root, policyFile: file })
    await machine.server.session()
  })
  afterEach(async () => {
    await agent.stop()
    await machine.remove()
  })

  test("refuses an order outside it by the rule's name, runs nothing of it, and does what is inside", async () => {
    const { server } = machine
    const [inside, outside] = [newKey(), newKey()]
    const echo = { ...shell(""), command: { argv: ["echo", "hello"] } }
    server.start(outside, orderOf([echo, shell("echo hello")]))
    const refused = await server.finished(outside)
    expect(refused).toMatchObject({ state: "failed", class: "refused" })
    expect(refused.message).toContain("the local policy refuses it (commands)")
    expect(refused.steps.map(({ state }) => state)).toEqual(["not-run", "not-run"])
    expect(server.count("started", outside)).toBe(0)
    server.start(inside, orderOf([echo]))
    expect(await server.finished(inside)).toMatchObject({ state: "succeeded" })
  })

  test("refuses everything where the policy is damaged, and tells so in the inventory", async () => {
    const { server } = machine
    const before = await server.frame("inventory", ({ inventory }) => inventory.policy?.state === "in-force")
    expect(before.inventory.policy?.digest).toMatch(/^sha256:[0-9a-f]{64}$/)
    await write("commands: {programs: [echo], also: 1}")
    const key = newKey()
    server.start(key, orderOf([{ ...shell(""), command: { argv: ["echo"] } }]))
    expect((await server.finished(key)).message).toContain("refuses every order")
    await server.frame("inventory", ({ inventory }) => inventory.policy?.state === "damaged")
  })
})
