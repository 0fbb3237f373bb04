import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import type { TaskOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { afterEach, beforeEach, expect, test } from "vitest"
import { makeMachine, newKey, type TestMachine } from "./protocol-server.fixture.ts"
import { endServices, isServiceRunning, makeRoot, stepOf, taskOf, treeOf } from "./step-kit.fixture.ts"

/**
 * A real agent that ends by SIGKILL right after the n-th record of an attempt's journal, for every n up to the last: what
 * ran is told rightly by the next agent, nothing runs twice, and the rollback finds all it needs. Records of processes
 * are not counted: crash.test.ts kills in the middle of commands.
 */
const compiled = (name: string) => fileURLToPath(new URL(`../dist/${name}.js`, import.meta.url))
const program = `
  const [agentModule, journalModule, dataDirectory, root, last] = process.argv.slice(1)
  const { Journal } = await import(journalModule)
  const { startAgent } = await import(agentModule)
  const { append } = Journal.prototype
  const records = new Map()
  Journal.prototype.append = async function (key, record, options) {
    if (record.type === "accepted" && record.phase === "task") records.set(key, 0)
    const attempt = await append.call(this, key, record, options)
    if (records.has(key) && record.type !== "process") records.set(key, records.get(key) + 1)
    if (records.get(key) === Number(last)) process.kill(process.pid, "SIGKILL")
    return attempt
  }
  const limits = { backoffMillisecondsMin: 20, backoffMillisecondsMax: 100, terminateGraceMilliseconds: 300, resendIntervalMilliseconds: 200 }
  await startAgent({ dataDirectory, root, limits })
`
const roundsMax = 60

let machine: TestMachine
let base: string
const agents: ChildProcess[] = []

beforeEach(async () => {
  machine = await makeMachine()
  base = dirname(machine.root)
  makeRoot(base)
  const { server } = machine
  server.performs = ({ key, phase, step, try: number }) => ({
    ...{ type: "step-result", key, phase, step, try: number },
    result: { name: "call", state: "succeeded", attempts: 1, durationMilliseconds: 0 },
  })
})

afterEach(async () => {
  for (const agent of agents.splice(0)) {
    if (agent.exitCode === null && agent.signalCode === null) {
      agent.kill("SIGKILL")
      await ended(agent)
    }
  }
  endServices(base)
  await machine.remove()
})

function launch(lastRecord: number): ChildProcess {
  const words = ["--input-type=module", "-e", program, compiled("agent"), compiled("journal")]
  const rest = [machine.dataDirectory, machine.root, String(lastRecord)]
  const agent = spawn(process.execPath, [...words, ...rest], { stdio: ["ignore", "inherit", "inherit"] })
  agents.push(agent)
  return agent
}

async function ended(agent: ChildProcess): Promise<void> {
  if (agent.exitCode !== null || agent.signalCode !== null) return
  const { promise, resolve } = Promise.withResolvers<void>()
  agent.once("exit", () => resolve())
  await promise
}

const order = (): TaskOrder => {
  const environment = { PATH: `${base}/bin:${process.env["PATH"]}` }
  return taskOf([
    stepOf({ file: { path: "etc/web.conf", content: "new" } }),
    stepOf({ service: { name: "web", state: "started", enabled: true } }),
    stepOf({ command: { shell: "echo run >> ../runs; touch made" }, undo: { shell: "rm -f made" } }),
    stepOf({ server: "http", undo: { server: "http" } }),
    stepOf({ wait: { milliseconds: 1 } }),
    stepOf({
      playbook: { content: "echo run >> ../plays; touch played", variables: {}, tags: [] },
      undo: { playbook: { content: "rm -f played", variables: {}, tags: [] } },
      environment,
    }),
    stepOf({ file: { path: "srv/tree", absent: true } }),
  ])
}

const lines = (name: string) =>
  existsSync(join(base, name)) ? readFileSync(join(base, name), "utf8").split("\n").length - 1 : 0
const look = () => ({ tree: treeOf(machine.root), web: isServiceRunning(base, "web") })

test("D14: killed after any record of its journal, an agent runs nothing twice, and all kinds are undone", async () => {
  const { server } = machine
  const before = look()
  const states: string[] = []
  let agent = launch(1)
  for (let last = 1; last <= roundsMax; last++) {
    const [runs, plays] = [lines("runs"), lines("plays")]
    await server.session(last)
    const key = newKey()
    server.start(key, order())
    const report = server.finished(key)
    await Promise.race([ended(agent), report])
    const hasReported = server.all("task-finished").some((frame) => frame.key === key)
    if (hasReported) agent.kill("SIGKILL")
    await ended(agent)
    agent = launch(last + 1)
    const { state } = await report
    states.push(state)
    expect(lines("runs") - runs).toBeLessThanOrEqual(1)
    expect(lines("plays") - plays).toBeLessThanOrEqual(1)
    await server.session(last + 1)
    server.send({ type: "rollback", key })
    expect(await server.rolledBack(key), `after record ${last}`).toMatchObject({ state: "rolled-back" })
    expect(look(), `after record ${last}`).toEqual(before)
    if (hasReported) break
  }
  // What was taken and had not begun runs with the next agent; each step has a record of its begin and one of its end.
  const interrupted = order().steps.length * 2 + 1
  expect(states).toEqual(
    ["succeeded", ...Array(interrupted).fill("interrupted"), "succeeded", "succeeded"].slice(0, states.length),
  )
  expect(states.length).toBeGreaterThan(interrupted + 1)
}, 180_000)
