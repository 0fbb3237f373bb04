import { executionsCreate, executionsGet } from "@signalbox/contracts/workflows/operations"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { type ExecutionUpdate, outcomesPerMessage } from "./watches.ts"
import { documentOf, eventually, makeNodes, openFixture, succeeded, type Fixture } from "./workflows.fixture.ts"

describe("following an execution", () => {
  let test: TestDatabase
  let fixture: Fixture
  let other: Fixture | undefined
  beforeAll(async () => {
    test = await createTestDatabase()
  })
  afterAll(() => test.drop())
  afterEach(async () => {
    await other?.stop()
    await fixture.stop()
  })

  const run = (count: number) =>
    ({ document: documentOf(), targets: { all: true }, concurrency: 20, targetsMax: count }) as const

  it.each(["on the server that runs it", "on another server"])(
    "tells of every task's end and of the execution's, %s",
    async (where) => {
      fixture = await openFixture({ database: test.database, nodes: makeNodes(300) })
      const settings = { executionsMax: 0 }
      other = await openFixture({ database: test.database, nodes: [], settings })
      const { id } = await fixture.call(executionsCreate, run(300))
      const states = new Map<number, string>()
      const messages: ExecutionUpdate[] = []
      const follower = where.endsWith("another server") ? other : fixture
      for await (const { data } of follower.stream<ExecutionUpdate>("executions.watch", {
        execution: id,
        output: "false",
      })) {
        messages.push(data)
        for (const task of data.tasks) states.set(task.ordinal, task.state)
      }
      expect(messages.at(-1)?.execution).toMatchObject({ state: "succeeded", counts: { succeeded: 300 } })
      expect(states.size).toBe(300)
      expect(new Set(states.values())).toEqual(new Set(["succeeded"]))
    },
  )

  it("carries progress and output of running tasks, and ends when the follower goes", async () => {
    fixture = await openFixture({ database: test.database, nodes: makeNodes(2) })
    fixture.executor.behaviour = ({ nodeId, key }) => {
      setImmediate(() => {
        fixture.executor.report({ type: "progress", nodeId, key, step: 0, stepsCount: 1, name: "nothing", percent: 40 })
        fixture.executor.report({ type: "output", nodeId, key, step: 0, stream: "stdout", text: "hello" })
      })
      return "stall"
    }
    const begin = new AbortController()
    const { id } = await fixture.call(executionsCreate, run(2))
    const stream = fixture.stream<ExecutionUpdate>("executions.watch", { execution: id, output: "true" }, begin.signal)
    const seen: ExecutionUpdate[] = []
    const done = (async () => {
      for await (const { data } of stream) {
        seen.push(data)
        // Once more, in case the first came before this follower.
        for (const ordinal of [0, 1]) {
          const nodeId = `nod_000000${ordinal}`
          const key = `${id}/${ordinal}/1`
          fixture.executor.report({
            type: "progress",
            nodeId,
            key,
            step: 0,
            stepsCount: 1,
            name: "nothing",
            percent: 40,
          })
          fixture.executor.report({ type: "output", nodeId, key, step: 0, stream: "stdout", text: "hello" })
        }
      }
    })()
    await eventually(async () => {
      const outputs = seen.flatMap((update) => update.output)
      const live = seen
        .flatMap((update) => update.tasks)
        .filter((task) => task.progress === 40 && task.step === "nothing")
      return outputs.some((output) => output.ordinal === 1 && output.text === "hello") && live.length > 0
    })
    begin.abort()
    await done
  })

  it("brings the outcome of each task that ends, where outcomes are asked for, however many", async () => {
    const count = 2 * outcomesPerMessage + 50
    fixture = await openFixture({ database: test.database, nodes: makeNodes(count) })
    const { id } = await fixture.call(executionsCreate, run(count))
    const outcomes = new Map<number, string>()
    for await (const { data } of fixture.stream<ExecutionUpdate>("executions.watch", {
      ...{ execution: id, output: "false", outcomes: "true" },
    })) {
      expect(data.tasks.length).toBeLessThanOrEqual(outcomesPerMessage)
      for (const { ordinal, outcome } of data.tasks) if (outcome) outcomes.set(ordinal, outcome.state)
    }
    expect([...outcomes.keys()].toSorted((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, n) => n))
    expect(new Set(outcomes.values())).toEqual(new Set(["succeeded"]))
  })

  it("gives one message for an execution that has ended, and refuses an unknown one", async () => {
    fixture = await openFixture({ database: test.database, nodes: makeNodes(2) })
    fixture.executor.behaviour = () => succeeded
    const { id } = await fixture.call(executionsCreate, run(2))
    await eventually(async () => (await fixture.call(executionsGet, { execution: id })).finishedAt !== undefined)
    const messages = await Array.fromAsync(
      fixture.stream<ExecutionUpdate>("executions.watch", { execution: id, output: "false" }),
    )
    expect(messages).toHaveLength(1)
    const unknown = fixture.stream("executions.watch", { execution: "exe_none", output: "false" })
    await expect(Array.fromAsync(unknown)).rejects.toMatchObject({ code: "executions.not-found" })
  })
})
