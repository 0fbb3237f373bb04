import type { TaskOutcome } from "@signalbox/contracts/fleet/agent-protocol"
import { executionsCreate, executionsGet, tasksGet, tasksOutput } from "@signalbox/contracts/workflows/operations"
import { createBlobs } from "../../storage/blobs.ts"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { outcomeLengthMax } from "./long-outcome.ts"
import { removeOutputs } from "./retention.ts"
import { documentOf, eventually, makeNodes, openFixture, succeeded } from "./workflows.fixture.ts"

describe("long outputs", () => {
  let test: TestDatabase
  beforeAll(async () => {
    test = await createTestDatabase()
  })
  afterAll(() => test.drop())

  it("X13: go to the blob store whole; the row keeps head, tail and digest; retention lets both go", async () => {
    const fixture = await openFixture({ database: test.database, nodes: makeNodes(2) })
    const head = "a".repeat(300_000)
    const tail = "z".repeat(300_000)
    const long: TaskOutcome = {
      state: "succeeded",
      steps: [
        {
          name: "talk",
          state: "succeeded",
          attempts: 1,
          durationMilliseconds: 1,
          stdout: { head, tail, bytes: 1_000_000, truncated: true },
          stderr: { head: "short", tail: "", bytes: 5, truncated: false },
        },
      ],
    }
    fixture.executor.behaviour = ({ key }) => (key.includes("/0/") ? long : succeeded)
    const { id } = await fixture.call(executionsCreate, { document: documentOf(), targets: { all: true } })
    await eventually(async () => (await fixture.call(executionsGet, { execution: id })).state === "succeeded")
    const task = await fixture.call(tasksGet, { execution: id, task: "0" })
    expect(JSON.stringify(task).length).toBeLessThan(outcomeLengthMax)
    expect(task.outcome?.steps[0]?.stdout).toMatchObject({ bytes: 1_000_000, truncated: true })
    expect(task.outcome?.steps[0]?.stdout?.tail.endsWith("zzz")).toBe(true)
    const digest = task.outcome?.kept?.digest ?? ""
    const references = () => test.database.query("select digest from blob_reference where aggregate_id = $1", [id])
    expect(await references()).toEqual([{ digest }])
    let text = ""
    let pages = 0
    for (let cursor: string | undefined; ;) {
      const page = await fixture.call(tasksOutput, { execution: id, task: "0", ...(cursor ? { cursor } : {}) })
      for (const item of page.items) if (item.stream === "stdout") text += item.text
      pages += 1
      cursor = page.nextCursor
      if (cursor === undefined) break
    }
    expect(pages).toBe(3)
    expect(text.startsWith(head) && text.endsWith(tail)).toBe(true)
    expect(await fixture.call(tasksOutput, { execution: id, task: "1" })).toEqual({ items: [] })
    expect(await fixture.call(tasksOutput, { execution: id, task: "0", phase: "rollback" })).toEqual({ items: [] })
    const { database } = test
    const blobs = createBlobs({ database, store: fixture.blobs.store, bytesMax: 1_000_000 })
    await removeOutputs({ database, blobs }, Date.now() + 60_000, new AbortController().signal)
    expect(await references()).toEqual([])
    await fixture.stop()
  })
})
