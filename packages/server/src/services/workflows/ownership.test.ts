import { executionsCreate, executionsGet } from "@signalbox/contracts/workflows/operations"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { connectDirect } from "../../storage/database.ts"
import { batchStatement, commitBatch, writeBatch, type Batch } from "./batch-store.ts"
import type { CommitFence } from "./claimed-execution.ts"
import { documentOf, eventually, makeNodes, openFixture, succeeded, type Fixture } from "./workflows.fixture.ts"

/** The first task has failed, with a text that takes some escaping. */
const batch: Batch = {
  state: "running",
  stop: null,
  reason: null,
  ended: false,
  nextOrdinal: 1,
  inFlight: 1,
  counts: {} as Batch["counts"],
  rollbacks: {} as Batch["rollbacks"],
  classes: {} as Batch["classes"],
  pace: undefined,
  blobs: [],
  tasks: [
    {
      ordinal: 0,
      first: true,
      state: "failed",
      rollback: "none",
      attempt: 1,
      class: "command",
      message: 'a "quoted"\nline',
      startedAt: 1,
      ended: true,
      outcome: JSON.stringify({ a: "\0\ud800" }),
      rollbackOutcome: null,
    },
  ],
  events: [{ id: "evt_1", type: "execution.progressed", data: {} }],
}

describe("the ownership of executions", () => {
  let test: TestDatabase
  beforeAll(async () => {
    test = await createTestDatabase()
  })
  afterAll(() => test.drop())

  const rowOf = async (id: string) => {
    const [row] = await test.database.query<{ owner: string; epoch: number; state: string; version: number }>(
      "select owner, epoch, state, version from executions where id = $1",
      [id],
    )
    if (!row) throw new Error("the execution is there")
    return row
  }
  const create = async (fixture: Fixture, count: number): Promise<string> => {
    const run = { document: documentOf(), targets: { all: true }, concurrency: 10, targetsMax: count } as const
    return (await fixture.call(executionsCreate, run)).id
  }

  it(
    "W9: another server takes over within the lease; nothing is lost and nothing runs twice",
    { timeout: 30_000 },
    async () => {
      const first = await openFixture({ database: test.database, nodes: makeNodes(2_000) })
      const id = await create(first, 2_000)
      await eventually(async () => first.executor.runs.size > 200)
      // The process dies: commits without their orders, reports without their acknowledgement, no word to anyone.
      await first.workflows.owner.abandon()
      const before = await rowOf(id)
      expect(before.state).toBe("running")
      const begin = performance.now()
      const second = await openFixture({ database: test.database, shared: first })
      const ended = await eventually(async () => {
        const found = await second.call(executionsGet, { execution: id })
        return found.finishedAt !== undefined && found
      }, 15_000)
      expect(performance.now() - begin).toBeLessThan(10_000)
      expect(ended).toMatchObject({ state: "succeeded", counts: { succeeded: 2_000 } })
      expect(first.executor.runs.size).toBe(2_000)
      expect([...first.executor.runs.values()].every((runs) => runs === 1)).toBe(true)
      expect((await rowOf(id)).epoch).toBeGreaterThan(before.epoch)
      await second.stop()
    },
  )

  it("W9: a plan that its owner left unfinished is made anew", async () => {
    const fixture = await openFixture({ database: test.database, nodes: makeNodes(20), start: false })
    const id = await create(fixture, 20)
    await test.database.query(
      "insert into execution_targets (execution_id, ordinal, account, node_id, node_name) values ($1, 0, 'main', 'nod_x', 'x')",
      [id],
    )
    await fixture.workflows.service.start?.()
    await eventually(async () => (await rowOf(id)).state === "succeeded")
    const rows = await test.database.query("select node_id from execution_targets where execution_id = $1", [id])
    expect(rows).toHaveLength(20)
    await fixture.stop()
  })

  it("hands executions back when it stops, and an own earlier process is not waited for", async () => {
    const settings = { leaseMilliseconds: 60_000 }
    const first = await openFixture({ database: test.database, nodes: makeNodes(50), settings })
    first.executor.behaviour = () => "stall"
    const id = await create(first, 50)
    await eventually(async () => first.executor.runs.size === 10)
    await first.stop()
    expect((await rowOf(id)).owner).toBeNull()
    const second = await openFixture({ database: test.database, shared: first, settings, serverId: "srv_same" })
    await eventually(async () => second.workflows.owner.owns(id))
    await second.workflows.owner.abandon()
    const third = await openFixture({ database: test.database, shared: first, settings, serverId: "srv_same" })
    await eventually(async () => third.workflows.owner.owns(id))
    expect(third.executor.runs.size).toBe(10)
    await third.workflows.owner.abandon()
    await test.database.query("delete from executions where id = $1", [id])
  })

  it("an owner whose lease was taken can't write, and stops", async () => {
    const fixture = await openFixture({
      database: test.database,
      nodes: makeNodes(50),
      settings: { scanMilliseconds: 60_000, renewMilliseconds: 60_000, leaseMilliseconds: 120_000 },
    })
    let release = (): void => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    fixture.executor.behaviour = () => released.then(() => succeeded)
    const id = await create(fixture, 50)
    await eventually(async () => fixture.executor.runs.size === 10)
    await test.database.query(
      "update executions set owner = 'srv_other/1', epoch = epoch + 1, leased_until = now() + interval '1 minute' where id = $1",
      [id],
    )
    const taken = await rowOf(id)
    release()
    await eventually(async () => !fixture.workflows.owner.owns(id))
    expect(await rowOf(id)).toEqual(taken)
    expect(await test.database.query("select 1 from execution_tasks where execution_id = $1", [id])).toEqual([])
    expect(fixture.executor.acknowledged).toEqual([])
    expect(fixture.executor.runs.size).toBe(10)
    expect(fixture.executor.forgotten).toEqual([id])
    await fixture.stop()
    await test.database.query("delete from executions where id = $1", [id])
  })

  it("D17: the statement of a batch reads no table whole, whatever the planner is told", async () => {
    const fixture = await openFixture({ database: test.database, nodes: makeNodes(3_000) })
    const id = await create(fixture, 3_000)
    await eventually(async () => (await rowOf(id)).state === "succeeded")
    await fixture.stop()
    const types =
      "text, text, text, bigint, text, json, text, int, int, json, json, int, bool, int[], text, text, int[], text, text, float8[], bool[], text, text, text[], text[], jsonb[], bool[], json, int, int, float8, json, bigint"
    // Among a few executions the planner may well read all of them: what counts is a table that has grown.
    await test.database.query(
      `insert into executions select (jsonb_populate_record(e, jsonb_build_object('id', e.id || n))).*
       from executions e, generate_series(1, 2000) as n where e.id = $1`,
      [id],
    )
    await test.database.query("analyze executions")
    const client = await connectDirect(test.connection)
    await client.query(`prepare batch (${types}) as ${batchStatement}`)
    for (const mode of ["force_generic_plan", "force_custom_plan"]) {
      await client.query(`set plan_cache_mode = ${mode}`)
      const { rows } = await client.query<{ "QUERY PLAN": string }>(
        `explain execute batch ('${id}', 'main', 'o', 1, 'running', null, null, 1, 1, '{}', '{}', 1, false,
           '{0,1}', 'succeeded,failed', 'none,none', '{1,1}', null, null, '{1,1}', '{true,true}', null, null,
           '{evt_1}', '{t}', array['{}']::jsonb[], '{true,false}', '{}', 1, 1, null, null, 0)`,
      )
      const plan = rows.map((row) => row["QUERY PLAN"]).join("\n")
      expect(plan).toMatch(/Index Scan using executions_(pkey|open)/)
      expect(plan).toContain("Conflict Arbiter Indexes: execution_tasks_pkey")
      expect(plan).not.toMatch(/Seq Scan/)
    }
    await client.end()
    await test.database.query("delete from executions where id like $1 and id <> $2", [`${id}%`, id])
  })

  it("a batch with the wrong epoch, owner, account or number changes nothing", async () => {
    const fixture = await openFixture({ database: test.database, nodes: makeNodes(1), start: false })
    const id = await create(fixture, 1)
    await test.database.query("update executions set owner = 'o', epoch = 5 where id = $1", [id])
    const fence: CommitFence = { account: "main", id, owner: "o", epoch: 5, batches: 0 }
    for (const wrong of [{ epoch: 4 }, { owner: "p" }, { account: "other" }, { id: "exe_none" }, { batches: 1 }])
      expect(await commitBatch(test.database, { ...fence, ...wrong }, batch)).toBeUndefined()
    expect(await rowOf(id)).toMatchObject({ state: "planning", version: 1 })
    expect(await test.database.query("select 1 from outbox where id = 'evt_1'")).toEqual([])
    expect(await commitBatch(test.database, fence, batch)).toMatchObject({ wish: "run", wishVersion: 0 })
    const [task] = await test.database.query(
      "select message, class, outcome::text from execution_tasks where execution_id = $1",
      [id],
    )
    expect(task).toEqual({ message: 'a "quoted"\nline', class: "command", outcome: batch.tasks[0]?.outcome })
    await fixture.stop()
  })

  it("W9: a batch that was sent behind another one writes nothing where that one failed", async () => {
    const fixture = await openFixture({ database: test.database, nodes: makeNodes(1), start: false })
    const id = await create(fixture, 1)
    await test.database.query("update executions set owner = 'o', epoch = 5 where id = $1", [id])
    const fence: CommitFence = { account: "main", id, owner: "o", epoch: 5, batches: 0 }
    const lane = await test.database.openLane()
    if (!lane) throw new Error("a lane is free")
    const eventsOf = (name: string) => [{ id: `evt_${name}`, type: "execution.progressed", data: {} }]
    const send = (batches: number, changes: Partial<Batch>): Promise<unknown> =>
      writeBatch(lane, { ...fence, batches }, { ...batch, tasks: [], events: eventsOf(String(batches)), ...changes })
    const broken = { events: [...eventsOf("twice"), ...eventsOf("twice")] }
    const answers = [send(0, {}), send(1, broken), send(2, {}), send(1, {}), send(2, {})]
    const [first, second, third, again, fourth] = await Promise.allSettled(answers)
    expect([first, again, fourth]).toMatchObject(Array(3).fill({ status: "fulfilled", value: { wish: "run" } }))
    expect(second).toMatchObject({ status: "rejected" })
    expect(third).toEqual({ status: "fulfilled", value: undefined })
    expect(await rowOf(id)).toMatchObject({ state: "running", version: 4 })
    await lane.close()
    await fixture.stop()
  })
})
