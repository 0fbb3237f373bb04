import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import { findMarkedProcesses, TestInstallation } from "./processes.fixture.ts"
import {
  getRun,
  mostAtOnce,
  type NodeEvidence,
  readEvidence,
  slowStep,
  startedNames,
  startRun,
  stateFile,
  tasksByName,
  waitForRunEnd,
} from "./run-evidence.fixture.ts"

/** A rollout of real processes while they are killed; what ran is read from the nodes, not asked of the server. */
const names = ["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"] as const
const width = 3
const before = "as it was\n"

let installation: TestInstallation

beforeAll(async () => {
  installation = await TestInstallation.create()
  await installation.startServer()
  await installation.addNodes(names)
  await installation.succeed(["login", "--local"])
})
afterAll(() => installation.remove())
beforeEach(async () => {
  for (const name of names) await writeFile(statePath(name), before)
})

const statePath = (name: string) => join(installation.node(name).root, stateFile)
const stepProcesses = (id: string) => findMarkedProcesses(`SIGNALBOX_ATTEMPT=${id}`)
const stateOf = (name: string) => readFile(statePath(name), "utf8")

function documentOf(options: {
  seconds: number
  stuck?: readonly string[]
  rollback?: boolean
  timeout?: string
  startTimeout?: string
}): string {
  const { seconds, stuck = [], rollback = true, timeout = "60s", startTimeout = "60s" } = options
  return JSON.stringify({
    kind: "Workflow",
    name: "slow-change",
    timeout,
    startTimeout,
    save: [stateFile],
    rollback: rollback ? "on-failure" : "never",
    steps: [{ name: "change", run: slowStep(seconds, stuck) }],
  })
}

const run = (options: Parameters<typeof documentOf>[0], nodes: readonly string[] = names) =>
  startRun(installation, { document: documentOf(options), concurrency: width, errorLimit: 8, nodes })

/** Waits until so many steps have ended and that node's is under way; any node's where none is named. */
const waitForProgress = (id: string, endedCount: number, on?: string) =>
  installation.eventually(`${endedCount} steps of ${id} to have ended and ${on ?? "another"} to run`, async () => {
    const evidence = await readEvidence(installation, id)
    if (evidence.filter(({ ended }) => ended.length > 0).length < endedCount) return undefined
    return evidence.find((one) => isUnderWay(one) && (on === undefined || on === one.name))
  })

const isUnderWay = ({ entries, begun, ended }: NodeEvidence) =>
  begun.length > ended.length && entries.some(({ state }) => state === undefined)

/** Every attempt ran once, by its journal and by what its step wrote; none was tried a second time. */
function expectOnce(evidence: readonly NodeEvidence[], interrupted: readonly string[] = []): void {
  for (const { name, entries, begun, ended } of evidence) {
    expect(entries, name).toHaveLength(1)
    expect(entries[0], name).toMatchObject({ attempt: 1, ranTwice: false })
    expect(begun, name).toHaveLength(1)
    expect(ended, name).toHaveLength(interrupted.includes(name) ? 0 : 1)
  }
  expect(mostAtOnce(evidence)).toBeLessThanOrEqual(width)
}

test("W9: a server that is killed in the middle loses nothing, and every attempt runs exactly once", async () => {
  const id = await run({ seconds: 1 })
  await waitForProgress(id, 2)
  await installation.server.end("SIGKILL")
  await installation.startServer()
  expect(await waitForRunEnd(installation, id)).toMatchObject({ state: "succeeded", counts: { succeeded: 8 } })
  const evidence = await readEvidence(installation, id)
  expectOnce(evidence)
  for (const { name, entries, begun } of evidence) {
    expect(entries[0], name).toMatchObject({ state: "succeeded" })
    expect(await stateOf(name)).toBe(`${begun[0]}\n`)
  }
})

test("W9: an agent that is killed under a step reports it as interrupted, puts it back and never runs it again", async () => {
  const name = "n2"
  const id = await run({ seconds: 1, stuck: [name] })
  await waitForProgress(id, 1, name)
  await installation.node(name).agent.end("SIGKILL")
  installation.restartAgent(name)
  const execution = await waitForRunEnd(installation, id)
  expect(execution).toMatchObject({ state: "incomplete", counts: { succeeded: 7, interrupted: 1, rolledBack: 1 } })
  const task = (await tasksByName(installation, id)).get(name)
  expect(task).toMatchObject({ state: "interrupted", class: "interrupted", rollback: "rolled-back", attempt: 1 })
  expect(await stateOf(name)).toBe(before)
  const evidence = await readEvidence(installation, id)
  expectOnce(evidence, [name])
  expect(evidence.find((one) => one.name === name)?.entries[0]).toMatchObject({
    state: "interrupted",
    rollback: "rolled-back",
  })
  expect(await stepProcesses(id)).toEqual([])
})

test("W9: server and agents killed together, twice in one run: each attempt once, and the run ends", async () => {
  const killed = ["n2", "n6"]
  const id = await run({ seconds: 1, stuck: killed })
  for (const [index, name] of killed.entries()) {
    await waitForProgress(id, 1 + index, name)
    await Promise.all([installation.server.end("SIGKILL"), installation.node(name).agent.end("SIGKILL")])
    installation.restartAgent(name)
    await installation.startServer()
  }
  const execution = await waitForRunEnd(installation, id)
  expect(execution).toMatchObject({ state: "incomplete", counts: { succeeded: 6, interrupted: 2, rolledBack: 2 } })
  expectOnce(await readEvidence(installation, id), killed)
  for (const name of killed) expect(await stateOf(name)).toBe(before)
  expect(await stepProcesses(id)).toEqual([])
})

test("W8: paused, a run starts nothing more and shows what it drains; resumed, it goes on", async () => {
  const id = await run({ seconds: 1 })
  await waitForProgress(id, 0)
  const paused = JSON.parse(await installation.succeed(["executions", "pause", id, "--json"]))
  expect(["running", "pausing"]).toContain(paused.state)
  await installation.eventually("the run to drain in sight", async () => {
    const { state, inFlight } = await getRun(installation, id)
    expect(state).not.toBe("paused")
    return state === "pausing" && inFlight > 0
  })
  await installation.eventually("the run to be paused", async () => {
    const { state, inFlight } = await getRun(installation, id)
    return state === "paused" && inFlight === 0
  })
  const started = startedNames(await readEvidence(installation, id))
  expect(started.length).toBeLessThan(names.length)
  // A slot is free all the while, and the engine looks after its runs twice a second.
  const others = await startRun(installation, {
    document: documentOf({ seconds: 1 }),
    concurrency: 8,
    errorLimit: 0,
    nodes: names,
  })
  expect(await waitForRunEnd(installation, others)).toMatchObject({ state: "succeeded" })
  expect(startedNames(await readEvidence(installation, id))).toEqual(started)
  expect(await installation.succeed(["executions", "get", id])).toContain("paused")
  await installation.succeed(["executions", "resume", id])
  expect(await waitForRunEnd(installation, id)).toMatchObject({ state: "succeeded", counts: { succeeded: 8 } })
  expectOnce(await readEvidence(installation, id))
})

test("W5, W8: an abort that finishes lets what runs end and starts nothing more", async () => {
  const id = await run({ seconds: 1 })
  await waitForProgress(id, 0)
  await installation.succeed(["executions", "abort", id, "--reason", "wrong version"])
  const { state, counts } = await waitForRunEnd(installation, id)
  const started = startedNames(await readEvidence(installation, id))
  expect({ state, succeeded: counts.succeeded, neverStarted: counts.neverStarted }).toEqual({
    state: "aborted",
    succeeded: started.length,
    neverStarted: names.length - started.length,
  })
  expect(started.length).toBeLessThan(names.length)
  expect((await installation.run(["wait", id])).code).toBe(1)
})

test("W5, W6: an abort that kills ends the whole process group of each step and puts the nodes back", async () => {
  const id = await run({ seconds: 300 })
  await installation.eventually("all slots to be in use", async () => {
    const evidence = await readEvidence(installation, id)
    return evidence.filter(isUnderWay).length === width
  })
  await installation.succeed(["executions", "abort", id, "--mode", "kill"])
  expect(await waitForRunEnd(installation, id)).toMatchObject({
    state: "aborted",
    counts: { aborted: 3, rolledBack: 3, neverStarted: 5 },
  })
  const evidence = await readEvidence(installation, id)
  for (const { name, ended } of evidence) {
    expect(ended, name).toEqual([])
    expect(await stateOf(name)).toBe(before)
  }
  expect(await stepProcesses(id)).toEqual([])
})

test("W9: an agent that never comes back: its task ends with its time, a further one is unreachable, the run ends", async () => {
  const id = await run({ seconds: 1, rollback: false, timeout: "4s" }, ["n1", "n2", "n3", "n4"])
  const { name } = await waitForProgress(id, 0)
  await installation.node(name).agent.end("SIGKILL")
  const late = await startRun(installation, {
    document: documentOf({ seconds: 0, rollback: false, startTimeout: "3s" }),
    concurrency: 1,
    errorLimit: 8,
    nodes: [name, "n8"],
  })
  expect(await waitForRunEnd(installation, late)).toMatchObject({
    state: "incomplete",
    counts: { succeeded: 1, unreachable: 1 },
  })
  expect(await waitForRunEnd(installation, id)).toMatchObject({
    state: "incomplete",
    counts: { succeeded: 3, interrupted: 1 },
  })
  expect((await tasksByName(installation, id)).get(name)).toMatchObject({ state: "interrupted", class: "timeout" })
  // What it says when it is back after all changes nothing: its task has ended.
  installation.restartAgent(name)
  await installation.waitForNodes(names.length)
  expect(await getRun(installation, id)).toMatchObject({ state: "incomplete", counts: { interrupted: 1 } })
  expect((await readEvidence(installation, late)).find((one) => one.name === name)?.begun).toEqual([])
})
