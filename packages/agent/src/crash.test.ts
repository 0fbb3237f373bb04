import { type ChildProcess, spawn } from "node:child_process"
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { fileURLToPath } from "node:url"
import { dirname, join } from "node:path"
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest"
import { eventually, makeMachine, newKey, orderOf, shell, type TestMachine } from "./protocol-server.fixture.ts"

/** Real agents as real processes, killed with SIGKILL. They run the compiled agent, as on a node. */
const compiled = fileURLToPath(new URL("../dist/agent.js", import.meta.url))
const program = `
  const { startAgent } = await import(process.argv[1])
  const limits = { backoffMillisecondsMin: 20, backoffMillisecondsMax: 100, terminateGraceMilliseconds: 300, resendIntervalMilliseconds: 200 }
  await startAgent({ dataDirectory: process.argv[2], root: process.argv[3], limits })
`

let machine: TestMachine
const agents: ChildProcess[] = []

function launch(): ChildProcess {
  const words = ["--input-type=module", "-e", program, compiled, machine.dataDirectory, machine.root]
  const agent = spawn(process.execPath, words, { stdio: ["ignore", "inherit", "inherit"] })
  agents.push(agent)
  return agent
}

async function killHard(agent: ChildProcess): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  agent.once("exit", () => resolve())
  agent.kill("SIGKILL")
  await promise
}

beforeEach(async () => {
  machine = await makeMachine()
})

afterEach(async () => {
  for (const agent of agents.splice(0)) if (agent.exitCode === null && agent.signalCode === null) await killHard(agent)
  await machine.remove()
})

const inRoot = (path: string) => join(machine.root, path)
const read = (path: string) => existsSync(inRoot(path)) && readFileSync(inRoot(path), "utf8").trim()
const isRunning = (pid: string) => {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.[0] !== "Z"
  } catch {
    return false
  }
}

const isRoot = process.geteuid?.() === 0

describe("kill -9 of the agent", () => {
  test("D14: a step that was running is reported interrupted, stopped, and never run again", async () => {
    const { server } = machine
    const first = launch()
    await server.session()
    const key = newKey()
    const order = orderOf(
      [shell("true"), shell("echo $$ >> pids; echo new > file; sleep 300"), shell("true")],
      ["file"],
    )
    server.start(key, order)
    const pid = await eventually(() => read("pids"))
    await killHard(first)
    expect(isRunning(pid)).toBe(true)
    launch()
    const outcome = await server.finished(key)
    expect(outcome).toMatchObject({ state: "interrupted", class: "interrupted" })
    expect(outcome.steps.map(({ state }) => state)).toEqual(["succeeded", "killed", "not-run"])
    await eventually(() => !isRunning(pid))
    const answers = server.all("task-finished").length
    server.start(key, order)
    await server.until(() => server.all("task-finished").length > answers)
    expect(read("pids")).toBe(pid)
    server.send({ type: "rollback", key })
    expect((await server.rolledBack(key)).state).toBe("rolled-back")
    expect(existsSync(inRoot("file"))).toBe(false)
  })

  test("leaves a service alone that an earlier step started in a session of its own", async () => {
    const { server } = machine
    const first = launch()
    await server.session()
    const key = newKey()
    server.start(
      key,
      orderOf([shell("setsid sleep 300 > /dev/null 2>&1 & echo $! > service"), shell("touch second; sleep 300")]),
    )
    await eventually(() => existsSync(inRoot("second")))
    const service = read("service") || ""
    await killHard(first)
    launch()
    expect((await server.finished(key)).state).toBe("interrupted")
    expect(isRunning(service)).toBe(true)
    process.kill(Number(service), "SIGKILL")
  })

  test("runs an accepted order that had not started, once", async () => {
    const { server } = machine
    const first = launch()
    await server.session()
    const [running, waiting] = [newKey(), newKey()]
    server.start(running, orderOf([shell("touch begun; sleep 300")]))
    server.start(waiting, orderOf([shell("echo run >> runs")]))
    await server.until(() => server.count("accepted", waiting) === 1 && existsSync(inRoot("begun")))
    await killHard(first)
    launch()
    expect((await server.finished(running)).state).toBe("interrupted")
    expect((await server.finished(waiting)).state).toBe("succeeded")
    expect(read("runs")).toBe("run")
  })

  test.each(isRoot ? [undefined, "nobody"] : [undefined])(
    "the next agent removes what a step of user %s had to work with, and nothing of other agents",
    async (user) => {
      const { server } = machine
      const foreign = mkdtempSync(join(tmpdir(), "signalbox-step-0123456789ab-"))
      onTestFinished(() => rmSync(foreign, { recursive: true }))
      chmodSync(machine.root, 0o777)
      chmodSync(join(machine.root, ".."), 0o711)
      const first = launch()
      await server.session()
      const key = newKey()
      const step = shell(
        'printf %s "$SIGNALBOX_OUTPUT" > place; touch begun; sleep 300',
        user === undefined ? {} : { user },
      )
      server.start(key, orderOf([step]))
      await eventually(() => existsSync(inRoot("begun")))
      const place = dirname(read("place") || "")
      expect(existsSync(place)).toBe(true)
      await killHard(first)
      launch()
      await server.finished(key)
      expect(existsSync(place)).toBe(false)
      expect(existsSync(foreign)).toBe(true)
    },
  )

  test("an interrupted rollback is unknown once an undo may have run, and the undo is not run again", async () => {
    const { server } = machine
    const first = launch()
    await server.session()
    const key = newKey()
    writeFileSync(inRoot("file"), "old")
    server.start(key, orderOf([shell("echo new > file", { undo: { shell: "echo $$ >> undos; sleep 300" } })], ["file"]))
    await server.finished(key)
    server.send({ type: "rollback", key })
    const pid = await eventually(() => read("undos"))
    expect(read("file")).toBe("old")
    await killHard(first)
    launch()
    expect((await server.rolledBack(key)).state).toBe("unknown")
    expect(read("undos")).toBe(pid)
    await eventually(() => !isRunning(pid))
  })

  test("results that were not acknowledged are sent by the next agent; acknowledged ones are not", async () => {
    const { server } = machine
    const first = launch()
    await server.session()
    const [known, open] = [newKey(), newKey()]
    server.start(known, orderOf([shell("true")]))
    await server.finished(known)
    server.acknowledges = false
    server.start(open, orderOf([shell("true")]))
    await server.finished(open)
    await killHard(first)
    const before = server.frames.length
    launch()
    await server.session(2)
    await server.until(() =>
      server.frames.slice(before).some((frame) => frame.type === "task-finished" && frame.key === open),
    )
    expect(server.frames.slice(before).some((frame) => frame.type === "task-finished" && frame.key === known)).toBe(
      false,
    )
  })
})
