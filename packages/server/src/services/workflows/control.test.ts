import {
  executionsAbort,
  executionsCreate,
  executionsGet,
  executionsPause,
  executionsResume,
} from "@signalbox/contracts/workflows/operations"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { documentOf, eventually, makeNodes, openFixture, succeeded, type Fixture } from "./workflows.fixture.ts"

describe("control of an execution", () => {
  let test: TestDatabase
  let fixture: Fixture
  beforeAll(async () => {
    test = await createTestDatabase()
  })
  afterAll(() => test.drop())
  afterEach(() => fixture.stop())

  const get = (id: string) => fixture.call(executionsGet, { execution: id })
  const reach = (id: string, state: string) =>
    eventually(async () => {
      const row = await test.database.query<{ state: string }>("select state from executions where id = $1", [id])
      return row[0]?.state === state && get(id)
    })

  /** Tasks that end when the test lets them. */
  async function openHeld(nodes: number): Promise<{ id: string; release: () => void }> {
    fixture = await openFixture({ database: test.database, nodes: makeNodes(nodes) })
    let release = (): void => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    fixture.executor.behaviour = () => released.then(() => succeeded)
    const { id } = await fixture.call(executionsCreate, {
      document: documentOf(),
      targets: { all: true },
      concurrency: 2,
      targetsMax: nodes,
    })
    await eventually(async () => fixture.executor.inFlight === 2)
    return { id, release }
  }

  it("W5: pauses with visible draining and goes on", async () => {
    const { id, release } = await openHeld(9)
    const begin = performance.now()
    expect(await fixture.call(executionsPause, { execution: id, reason: "lunch" })).toMatchObject({ state: "pausing" })
    expect(await reach(id, "pausing")).toMatchObject({ inFlight: 2 })
    expect(performance.now() - begin).toBeLessThan(1_000)
    release()
    expect(await reach(id, "paused")).toMatchObject({ inFlight: 0, counts: { succeeded: 2, queued: 7 } })
    expect(fixture.executor.runs.size).toBe(2)
    expect(await fixture.call(executionsPause, { execution: id })).toMatchObject({ state: "paused" })
    expect(await fixture.call(executionsResume, { execution: id })).toMatchObject({ state: "running" })
    await reach(id, "succeeded")
    await expect(fixture.call(executionsPause, { execution: id })).rejects.toMatchObject({
      code: "executions.finished",
    })
    const types = await test.database.query<{ type: string }>(
      "select type from outbox where aggregate_id = $1 and type <> 'execution.progressed' order by subject_version",
      [id],
    )
    expect(types.map(({ type }) => type.replace("execution.", ""))).toEqual([
      "created",
      "started",
      "pause-requested",
      "paused",
      "resume-requested",
      "resumed",
      "succeeded",
    ])
    const versions = await test.database.query<{ version: number }>(
      "select subject_version as version from outbox where aggregate_id = $1 order by subject_version",
      [id],
    )
    expect(versions.map(({ version }) => version)).toEqual(versions.map((_, index) => index + 1))
  })

  it("W5: aborts; running nodes finish and the rest is never started", async () => {
    const { id, release } = await openHeld(9)
    expect(await fixture.call(executionsAbort, { execution: id })).toMatchObject({
      state: "aborting",
      stopRequestedBy: "system:tests",
    })
    await reach(id, "aborting")
    await expect(fixture.call(executionsResume, { execution: id })).rejects.toMatchObject({
      code: "executions.invalid-transition",
    })
    release()
    expect(await reach(id, "aborted")).toMatchObject({ counts: { succeeded: 2, neverStarted: 7 } })
    await expect(fixture.call(executionsAbort, { execution: id })).rejects.toMatchObject({
      code: "executions.finished",
    })
  })

  it("W5: kills running tasks where asked", async () => {
    fixture = await openFixture({ database: test.database, nodes: makeNodes(5) })
    fixture.executor.behaviour = () => "stall"
    const run = { document: documentOf(), targets: { all: true }, concurrency: 2 } as const
    const { id } = await fixture.call(executionsCreate, run)
    await eventually(async () => fixture.executor.inFlight === 2)
    await fixture.call(executionsAbort, { execution: id, mode: "kill" })
    expect(await reach(id, "aborted")).toMatchObject({ counts: { aborted: 2, neverStarted: 3 } })
  })

  it("an execution that is paused before it is planned starts nothing", async () => {
    fixture = await openFixture({ database: test.database, nodes: makeNodes(5), start: false })
    const run = { document: documentOf(), targets: { all: true }, concurrency: 2 } as const
    const { id } = await fixture.call(executionsCreate, run)
    await fixture.call(executionsPause, { execution: id })
    await fixture.workflows.service.start?.()
    expect(await reach(id, "paused")).toMatchObject({ counts: { queued: 5 } })
    expect(fixture.executor.orders).toEqual([])
    await fixture.call(executionsAbort, { execution: id })
    expect(await reach(id, "aborted")).toMatchObject({ counts: { neverStarted: 5 } })
  })

  it("what nobody knows in this account is not found", async () => {
    const { id, release } = await openHeld(2)
    release()
    await reach(id, "succeeded")
    for (const operation of [executionsGet, executionsPause, executionsResume, executionsAbort]) {
      const foreign = fixture.router.call(
        operation as typeof executionsGet,
        { execution: id },
        {
          account: "other",
          service: "tests",
          roles: ["admin"],
          cause: "test",
          depth: 0,
        },
      )
      await expect(foreign).rejects.toMatchObject({ code: "executions.not-found" })
    }
  })

  it("W5: pause is carried out within a second while thousands of tasks pass", async () => {
    fixture = await openFixture({ database: test.database, nodes: makeNodes(20_000) })
    const run = { document: documentOf(), targets: { all: true }, concurrency: 200, targetsMax: 20_000 } as const
    const { id } = await fixture.call(executionsCreate, run)
    await eventually(async () => fixture.executor.runs.size > 500)
    const begin = performance.now()
    await fixture.call(executionsPause, { execution: id })
    const paused = await reach(id, "paused")
    expect(performance.now() - begin).toBeLessThan(2_000)
    expect(paused.counts.queued).toBeGreaterThan(0)
    await fixture.call(executionsAbort, { execution: id })
    await reach(id, "aborted")
  })
})
