import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { AgentFrame, ServerFrame, StepOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { decide } from "./agent-policy.ts"
import { makeMachine, newKey, orderOf, shell, type TestMachine } from "./protocol-server.fixture.ts"

/** A task that waits for people outlives its agent, and nothing before or after the wait runs twice. */
const compiled = fileURLToPath(new URL("../dist/agent.js", import.meta.url))
const program = `
  const { startAgent } = await import(process.argv[1])
  const limits = { backoffMillisecondsMin: 20, backoffMillisecondsMax: 100, terminateGraceMilliseconds: 300, resendIntervalMilliseconds: 200 }
  const agent = await startAgent({ dataDirectory: process.argv[2], root: process.argv[3], limits })
  process.on("SIGTERM", () => void agent.stop().then(() => process.exit(0)))
`
type Request = Extract<AgentFrame, { type: "step-request" }>
type Answer = Extract<ServerFrame, { type: "step-result" }>

let machine: TestMachine
const agents: ChildProcess[] = []
beforeEach(async () => {
  machine = await makeMachine()
})
afterEach(async () => {
  for (const agent of agents.splice(0)) await end(agent, "SIGKILL")
  await machine.remove()
})

function launch(): ChildProcess {
  const words = ["--input-type=module", "-e", program, compiled, machine.dataDirectory, machine.root]
  const agent = spawn(process.execPath, words, { stdio: ["ignore", "inherit", "inherit"] })
  agents.push(agent)
  return agent
}

async function end(agent: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (agent.exitCode !== null || agent.signalCode !== null) return
  const { promise, resolve } = Promise.withResolvers<void>()
  agent.once("exit", () => resolve())
  agent.kill(signal)
  await promise
}

const approval = (settings: Partial<StepOrder> = {}): StepOrder => {
  const { command: _, ...rest } = shell("true", { name: "ask", server: "approval", timeoutMilliseconds: 600_000 })
  return { ...rest, ...settings }
}

const answerTo = ({ key, phase, step, try: number }: Request, more: Partial<Answer> = {}): Answer => ({
  ...{ type: "step-result", key, phase, step, try: number },
  result: { name: "ask", state: "succeeded", attempts: 1, durationMilliseconds: 0, changed: false },
  ...more,
})

const read = (name: string): string | undefined =>
  existsSync(join(machine.root, name)) ? readFileSync(join(machine.root, name), "utf8") : undefined

/** The number-th question, over all sessions. */
const question = (number: number): Promise<Request> =>
  machine.server.until(() => machine.server.all("step-request")[number - 1], `question ${number}`)

const order = orderOf([
  shell('echo before >> log; echo version=7 >> "$SIGNALBOX_OUTPUT"', { id: "first", outputs: {} }),
  approval(),
  shell("x", {
    command: {
      argv: ["sh", "-c", 'echo "$0 $1" >> log', [{ step: "first", output: "version" }], [{ secret: "word" }]],
    },
  }),
])

describe.each(["SIGKILL", "SIGTERM"] as const)("W2: the agent ends by %s while people are waited for", (signal) => {
  test("the next one asks again, goes on with what the steps before passed on, and runs none of them again", async () => {
    const { server } = machine
    const first = launch()
    await server.session()
    const key = newKey()
    const startBefore = new Date(Date.now() + 60_000).toISOString()
    server.send({ type: "start", key, startBefore, order, secrets: { word: "hunter2-hunter2" } })
    await question(1)
    await end(first, signal)
    launch()
    const again = await question(2)
    expect(again).toMatchObject({ key, step: 1, try: 1, values: { first: { version: "7" } } })
    server.send(answerTo(again, { secrets: { word: "hunter2-hunter2" } }))
    const outcome = await server.finished(key)
    expect(outcome, JSON.stringify(outcome)).toMatchObject({ state: "succeeded" })
    expect(outcome.steps.map(({ state }) => state)).toEqual(["succeeded", "succeeded", "succeeded"])
    expect(read("log")).toBe("before\n7 hunter2-hunter2\n")
    expect(JSON.stringify(server.frames)).not.toContain("hunter2")
  })

  test("a kill that comes meanwhile ends the task as aborted, and its rollback has nothing left over", async () => {
    const { server } = machine
    const first = launch()
    await server.session()
    const key = newKey()
    const steps = [shell("echo made > made", { undo: { shell: "rm made" } }), approval(), shell("echo never > never")]
    server.start(key, orderOf(steps))
    await question(1)
    await end(first, signal)
    launch()
    await question(2)
    server.send({ type: "kill", key, reason: "the run was aborted" })
    expect(await server.finished(key)).toMatchObject({ state: "aborted" })
    server.send({ type: "rollback", key })
    const rolledBack = await server.rolledBack(key)
    expect(rolledBack).toMatchObject({ state: "rolled-back" })
    expect(rolledBack.notCovered).toBeUndefined()
    expect([read("made"), read("never")]).toEqual([undefined, undefined])
  })
})

test("W2: a no ends the task with the class denied, and what follows does not run", async () => {
  const { server } = machine
  launch()
  await server.session()
  const key = newKey()
  server.start(key, orderOf([approval(), shell("echo never > never")]))
  const asked = await question(1)
  const said = { name: "ask", state: "failed", attempts: 1, durationMilliseconds: 0, denied: true } as const
  server.send(answerTo(asked, { result: { ...said, message: "denied by Ada" } }))
  const outcome = await server.finished(key)
  expect(outcome).toMatchObject({ state: "failed", class: "denied" })
  expect(outcome.message).toContain("denied by Ada")
  expect(outcome.steps.map(({ state }) => state)).toEqual(["failed", "not-run"])
  expect(read("never")).toBeUndefined()
})

test("W2: the wait takes nothing of the task's own time, nor of what a local policy allows", async () => {
  const { server } = machine
  launch()
  await server.session()
  const key = newKey()
  // The wait alone is longer than the task may work.
  const patient = orderOf([approval(), shell("echo after > after")], [], 6_000)
  server.start(key, patient)
  const asked = await question(1)
  await new Promise((resolve) => setTimeout(resolve, 7_000))
  server.send(answerTo(asked))
  expect(await server.finished(key)).toMatchObject({ state: "succeeded" })
  expect(read("after")).toBe("after\n")
  const facts = { agentUser: "root", digest: (text: string) => text }
  expect(
    decide({ durationMax: "10m" }, orderOf([approval({ timeoutMilliseconds: 86_400_000 })]), facts),
  ).toBeUndefined()
  const long = orderOf([shell("true", { timeoutMilliseconds: 86_400_000 })])
  expect(decide({ durationMax: "10m" }, long, facts)).toMatchObject({ rule: "durationMax" })
})

test("W2: where people never answer the step's own time ends it", async () => {
  const { server } = machine
  launch()
  await server.session()
  const key = newKey()
  server.start(key, orderOf([approval({ timeoutMilliseconds: 300 })]))
  expect(await server.finished(key)).toMatchObject({ state: "failed", class: "timeout" })
})
