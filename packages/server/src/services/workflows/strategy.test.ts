import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import {
  executionsAbort,
  executionsCreate,
  executionsGet,
  executionsList,
  executionsPlan,
  executionsResize,
  executionsRetry,
  executionsRollback,
  tasksGet,
  tasksList,
  workflowsApply,
} from "@signalbox/contracts/workflows/operations"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import type { WindowsAnswer } from "../../router/ports.ts"
import {
  documentOf,
  eventually,
  failed,
  makeNodes,
  openFixture,
  succeeded,
  testAccount,
  type Fixture,
  type FixtureNode,
} from "./workflows.fixture.ts"

describe("a run's strategy", () => {
  let test: TestDatabase
  let fixture: Fixture
  beforeAll(async () => {
    test = await createTestDatabase()
  })
  afterAll(() => test.drop())
  afterEach(() => fixture.stop())

  const get = (id: string) => fixture.call(executionsGet, { execution: id })
  const end = (id: string) =>
    eventually(async () => {
      const execution = await get(id)
      return execution.finishedAt !== undefined && execution
    }, 60_000)
  const open = async (nodes: number | readonly FixtureNode[], more: object = {}) => {
    fixture = await openFixture({
      database: test.database,
      nodes: typeof nodes === "number" ? makeNodes(nodes) : nodes,
      ...more,
    })
  }
  const start = (more: object = {}, document: Record<string, unknown> = {}) =>
    fixture.call(executionsCreate, {
      document: documentOf(document),
      targets: { all: true },
      targetsMax: 10_000,
      ...more,
    } as never)
  /** Tasks end one by one, when the test lets them; gives the ordinals that are open. */
  const gate = () => {
    const waiting = new Map<number, () => void>()
    const began: number[] = []
    fixture.executor.behaviour = ({ key }) => {
      const ordinal = Number(key.split("/")[1])
      began.push(ordinal)
      return new Promise((resolve) => waiting.set(ordinal, () => resolve(succeeded)))
    }
    return {
      began,
      count: () => waiting.size,
      release: (...ordinals: number[]) => {
        for (const ordinal of ordinals.length > 0 ? ordinals : [...waiting.keys()]) {
          waiting.get(ordinal)?.()
          waiting.delete(ordinal)
        }
      },
    }
  }

  it("W12: a plan says what would run, and its digest holds a run to it", async () => {
    await open(30)
    const document = documentOf({
      waves: [1, "20%"],
      bake: "2s",
      save: ["etc/web.conf"],
      steps: [{ name: "put", run: "echo ${{ node.name }}" }],
    })
    const run = { document, targets: { all: true }, concurrency: "50%", errorLimit: 2 } as const
    const plan = await fixture.call(executionsPlan, { ...run, sample: 2 })
    expect(plan).toMatchObject({
      targets: { count: 30, text: "all nodes" },
      width: 15,
      errorsMax: 2,
      blastRadius: { verdict: "within", targetsMax: 100 },
      strategy: { waves: [1, 6, 6, 6, 6, 5], wavesCount: 6, bake: "2s", rollback: "on-failure" },
      steps: [{ name: "put", kind: "run", undo: "none" }],
      rollback: { saved: ["etc/web.conf"], notCovered: ["put"] },
    })
    expect(plan.sample).toMatchObject([{ nodeName: "web-0000000", steps: [{ does: 'run echo "web-0000000"' }] }, {}])
    expect(await fixture.call(executionsPlan, { ...run, sample: 0 })).toMatchObject({ planDigest: plan.planDigest })
    const execution = await fixture.call(executionsCreate, { ...run, waves: [30], planDigest: plan.planDigest }).then(
      () => "ran",
      (error: unknown) => error,
    )
    expect(execution).toMatchObject({ code: "executions.plan-changed" })
    fixture.fleet.nodes = makeNodes(31)
    await expect(fixture.call(executionsCreate, { ...run, planDigest: plan.planDigest })).rejects.toMatchObject({
      code: "executions.plan-changed",
    })
    fixture.fleet.nodes = makeNodes(30)
    const { id } = await fixture.call(executionsCreate, { ...run, bake: "0s", waves: [30] })
    expect(await end(id)).toMatchObject({ state: "succeeded", targets: { digest: plan.targets.digest } })
    const wide = await fixture.call(executionsPlan, { ...run, targetsMax: 3 })
    expect(wide.blastRadius).toEqual({ verdict: "exceeded", targetsMax: 3 })
  })

  it("D13: targets that changed between the answer and the plan are refused where a digest was given", async () => {
    await open(5, { start: false })
    const run = { document: documentOf(), targets: { all: true } } as const
    const { planDigest } = await fixture.call(executionsPlan, run)
    const { id } = await fixture.call(executionsCreate, { ...run, planDigest })
    fixture.fleet.nodes = makeNodes(6)
    await fixture.workflows.service.start?.()
    expect(await end(id)).toMatchObject({ state: "failed", reason: expect.stringContaining("others now") as string })
    expect(fixture.executor.orders).toEqual([])
  })

  it("W4: ramps up, one wave at a time, each of which bakes", async () => {
    await open(10)
    const held = gate()
    const { id } = await start({ waves: [1, 3], bake: "500ms", ramp: true, concurrency: 10 })
    await eventually(async () => held.count() === 1)
    expect(await get(id)).toMatchObject({ wave: { number: 1, count: 4 }, strategy: { waves: [1, 3, 3, 3] } })
    held.release()
    const baking = await eventually(async () => {
      const execution = await get(id)
      return execution.waitsFor?.for === "bake" && execution
    })
    expect(baking.waitsFor?.until).toBeDefined()
    expect(held.began).toEqual([0])
    // One has succeeded, so the ramp lets two go.
    await eventually(async () => held.count() === 2)
    expect(held.began).toEqual([0, 1, 2])
    held.release(1)
    await eventually(async () => held.began.includes(3))
    const releasing = setInterval(() => held.release(), 20)
    const ended = await end(id)
    clearInterval(releasing)
    expect(ended).toMatchObject({ state: "succeeded", counts: { succeeded: 10 } })
    expect(Date.parse(ended.finishedAt ?? "") - Date.parse(ended.startedAt ?? "")).toBeGreaterThanOrEqual(1_500)
  })

  it("W10: never two members of one failure domain at once, interleaved at the plan", async () => {
    const nodes = makeNodes(12).map((node, index) => ({ ...node, tags: { cluster: `c${Math.floor(index / 4)}` } }))
    await open(nodes)
    const clusterOf = new Map(nodes.map((node) => [node.id, node.tags.cluster]))
    const inFlight = new Map<string, number>()
    let most = 0
    fixture.executor.behaviour = async ({ nodeId }) => {
      const cluster = clusterOf.get(nodeId) ?? ""
      inFlight.set(cluster, (inFlight.get(cluster) ?? 0) + 1)
      most = Math.max(most, inFlight.get(cluster) ?? 0)
      await new Promise((resolve) => setTimeout(resolve, 5))
      inFlight.set(cluster, (inFlight.get(cluster) ?? 0) - 1)
      return succeeded
    }
    const plan = await fixture.call(executionsPlan, {
      document: documentOf(),
      targets: { all: true },
      failureDomain: "cluster",
    })
    expect(plan.domains).toEqual({ tag: "cluster", count: 3, largest: 4, withoutTag: 0 })
    const { id } = await start({ failureDomain: "cluster", concurrency: 12 })
    expect(await end(id)).toMatchObject({ state: "succeeded", targets: { digest: plan.targets.digest } })
    expect(most).toBe(1)
    const { items } = await fixture.call(tasksList, { execution: id })
    expect(new Set(items.slice(0, 3).map(({ node }) => clusterOf.get(node))).size).toBe(3)
  })

  it("W5: stops by class, by rate, by expression and by too many unavailable targets", async () => {
    await open(20)
    fixture.executor.behaviour = ({ key }) =>
      Number(key.split("/")[1]) % 2 === 0 ? { ...failed, class: "timeout" } : succeeded
    const one = { concurrency: 1, errorLimit: 20 }
    const byClass = await end((await start({ ...one, errorLimits: { timeout: 1 } })).id)
    expect(byClass).toMatchObject({ state: "failed", counts: { failed: 2 }, classes: { timeout: 2 } })
    const byRate = await end((await start({ ...one, errorRate: { limit: "40%", sample: 5 } })).id)
    expect(byRate).toMatchObject({ state: "failed", counts: { failed: 3, succeeded: 2 } })
    const byExpression = await end(
      (await start({ ...one, stopWhen: "run.failed + run.timedOut >= 2 && run.total == 20" })).id,
    )
    expect(byExpression).toMatchObject({ state: "failed", counts: { failed: 2 } })
    const byUnavailable = await end((await start({ ...one, unavailableLimit: 3 })).id)
    expect(byUnavailable).toMatchObject({ state: "failed", counts: { failed: 3 }, results: { failed: 3 } })
    await expect(start({ stopWhen: "run.nothing > 1" })).rejects.toMatchObject({ code: "executions.invalid-strategy" })
    const document = documentOf({ stopWhen: "1 +" })
    await expect(fixture.call(workflowsApply, { name: "noop", document })).rejects.toMatchObject({
      code: "executions.invalid-strategy",
    })
  })

  it("W5: a health check over HTTP that fails again and again stops the run", async () => {
    let status = 200
    const server = createServer((_, response) => {
      response.statusCode = status
      response.end()
    }).listen(0, "127.0.0.1")
    try {
      await eventually(async () => server.listening)
      await open(4)
      const held = gate()
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/up`
      const { id } = await start({ concurrency: 1, health: { http: { url }, every: "100ms", failures: 2 } })
      await eventually(async () => ((await get(id)).health?.checks ?? 0) > 1)
      expect(await get(id)).toMatchObject({ state: "running", health: { ok: true, failures: 0 } })
      status = 503
      await eventually(async () => (await get(id)).state === "aborting")
      held.release()
      const ended = await end(id)
      expect(ended).toMatchObject({ state: "failed", health: { ok: false, failures: 2 }, counts: { neverStarted: 3 } })
      expect(ended.reason).toContain("status 503")
    } finally {
      server.close()
    }
  })

  it("W5: a health check on a node goes on after a takeover, with its failures in a row", async () => {
    let ok = true
    const probes = {
      probe: async () =>
        ({
          name: "probe",
          state: ok ? "succeeded" : "failed",
          exitCode: ok ? 0 : 7,
          stderr: { head: "the queue is 9 minutes behind\n", tail: "", bytes: 30, truncated: false },
          attempts: 1,
          durationMilliseconds: 1,
        }) as const,
    }
    await open(3, { probes })
    const first = fixture
    fixture.executor.behaviour = () => "stall"
    const { id } = await start({
      concurrency: 1,
      health: { run: "true", on: "web-0000000", every: "100ms", failures: 100 },
    })
    ok = false
    const seen = await eventually(async () => {
      const { health } = await get(id)
      return (health?.failures ?? 0) >= 2 && health
    })
    expect(seen?.message).toBe("web-0000000: exit code 7: the queue is 9 minutes behind")
    await first.workflows.owner.abandon()
    fixture = await openFixture({ database: test.database, probes, shared: first })
    await eventually(async () => ((await get(id)).health?.checks ?? 0) > (seen?.checks ?? 0) + 2)
    expect((await get(id)).health?.failures).toBeGreaterThan(seen?.failures ?? 0)
    await fixture.call(executionsAbort, { execution: id, mode: "kill" })
    expect(await end(id)).toMatchObject({ state: "aborted" })
  })

  it("W4: the width changes while it runs, draining down, and survives a takeover", async () => {
    await open(40)
    const first = fixture
    const held = gate()
    const { id } = await start({ concurrency: 2 })
    await eventually(async () => held.count() === 2)
    expect(await fixture.call(executionsResize, { execution: id, concurrency: "25%" })).toMatchObject({
      state: "running",
    })
    await eventually(async () => held.count() === 10)
    expect(await get(id)).toMatchObject({ width: 10, inFlight: 10, waitsFor: { for: "width" } })
    await fixture.call(executionsResize, { execution: id, concurrency: 3 })
    await eventually(async () => (await get(id)).width === 3)
    held.release(...held.began.slice(0, 6))
    await eventually(async () => (await get(id)).inFlight === 4)
    expect(held.began.length).toBe(10)
    await first.workflows.owner.abandon()
    fixture = await openFixture({ database: test.database, shared: first })
    await eventually(async () => fixture.workflows.owner.owns(id))
    held.release(...held.began.slice(6, 8))
    await eventually(async () => held.began.length === 11)
    expect(await get(id)).toMatchObject({ width: 3, concurrency: "2" })
    const releasing = setInterval(() => held.release(), 10)
    expect(await end(id)).toMatchObject({ state: "succeeded" })
    clearInterval(releasing)
    expect(first.executor.inFlightMax).toBeLessThanOrEqual(10)
    await expect(fixture.call(executionsResize, { execution: id, concurrency: 3 })).rejects.toMatchObject({
      code: "executions.finished",
    })
  })

  it("W4: nothing starts outside of its maintenance windows; what runs goes on, after a takeover too", async () => {
    let answer: WindowsAnswer = { open: false, changesAt: Date.now() + 3_600_000, name: "night" }
    const windows = { stateOf: () => answer }
    await open(4, { windows })
    const first = fixture
    const held = gate()
    const { id } = await start({ concurrency: 2, windows: ["night"] })
    const waiting = await eventually(async () => {
      const execution = await get(id)
      return execution.waitsFor?.for === "hold" && execution
    })
    expect(waiting.waitsFor?.text).toContain("maintenance window night is closed until")
    expect(held.began).toEqual([])
    await first.workflows.owner.abandon()
    fixture = await openFixture({ database: test.database, windows, shared: first })
    await eventually(async () => fixture.workflows.owner.owns(id))
    answer = { open: true, changesAt: null, name: "night" }
    await eventually(async () => held.began.length === 2)
    answer = { open: false, changesAt: null, name: null }
    await eventually(async () => (await get(id)).waitsFor?.for === "hold")
    held.release()
    await eventually(async () => (await get(id)).inFlight === 0)
    expect(held.began.length).toBe(2)
    answer = { open: true, changesAt: null, name: "night" }
    await eventually(async () => held.began.length === 4)
    held.release()
    expect(await end(id)).toMatchObject({ state: "succeeded" })
    const types = await test.database.query<{ type: string }>(
      "select type from outbox where aggregate_id = $1 and type <> 'execution.progressed' order by subject_version",
      [id],
    )
    expect(types.map(({ type }) => type)).toEqual(expect.arrayContaining(["execution.held", "execution.released"]))
  })

  it("W8: retries the failed tasks alone, in a new execution; nodes that are gone are named", async () => {
    await open(8)
    const bad = new Set(["2", "5", "6"])
    fixture.executor.behaviour = ({ key }) => (bad.has(key.split("/")[1] ?? "") ? failed : succeeded)
    const { id } = await start({ concurrency: 8, errorLimit: 8 })
    await end(id)
    fixture.fleet.nodes = fixture.fleet.nodes.filter(({ name }) => name !== "web-0000005")
    fixture.executor.behaviour = () => succeeded
    const next = await fixture.call(executionsRetry, { execution: id })
    expect(next).toMatchObject({ kind: "retry", retryOf: id, targets: { count: 3 } })
    const listed = await fixture.call(executionsList, {})
    const both = listed.items.filter((item) => [id, next.id].includes(item.id))
    expect(both.map(({ kind, retryOf }) => [kind, retryOf])).toEqual([
      ["retry", id],
      ["run", undefined],
    ])
    const ended = await end(next.id)
    expect(ended).toMatchObject({
      state: "succeeded",
      counts: { succeeded: 2 },
      vanished: { count: 1, nodes: ["web-0000005"] },
    })
    const { items } = await fixture.call(tasksList, { execution: next.id })
    expect(items.map(({ nodeName }) => nodeName)).toEqual(["web-0000002", "web-0000006"])
    await expect(fixture.call(executionsRetry, { execution: next.id })).rejects.toMatchObject({
      code: "executions.no-targets",
    })
    await expect(fixture.call(executionsRetry, { execution: id, classes: ["timeout"] })).rejects.toMatchObject({
      code: "executions.no-targets",
    })
  })

  it("W6: rolls all targets of an ended run back, the last one first, each by its own attempt", async () => {
    await open(6)
    const { id } = await start({ concurrency: 3 })
    await end(id)
    const rolled: string[] = []
    fixture.executor.rollback = (key) => {
      rolled.push(key)
      if (key.includes("/4/")) return { state: "not-reversible", restored: 0, undone: [] }
      return { state: "rolled-back", restored: 1, undone: [] }
    }
    const back = await fixture.call(executionsRollback, { execution: id, concurrency: 1 })
    expect(back).toMatchObject({ kind: "rollback", rollbackOf: id, targets: { count: 6 }, errorLimit: "100%" })
    await expect(fixture.call(executionsRollback, { execution: id })).rejects.toMatchObject({
      code: "executions.rollback-running",
    })
    expect(await end(back.id)).toMatchObject({ state: "incomplete", counts: { succeeded: 5, failed: 1 } })
    expect(rolled).toEqual([5, 4, 3, 2, 1, 0].map((ordinal) => `${id}/${ordinal}/1`))
    expect(await get(id)).toMatchObject({ state: "succeeded", rolledBackBy: [back.id], results: { ok: 6 } })
    expect(await fixture.call(tasksGet, { execution: id, task: "3" })).toMatchObject({
      state: "succeeded",
      rolledBackBy: back.id,
    })
    expect(await fixture.call(tasksGet, { execution: back.id, task: "1" })).toMatchObject({
      state: "failed",
      class: "refused",
      nodeName: "web-0000004",
      rollbackOutcome: { state: "not-reversible" },
    })
    expect(fixture.executor.acknowledged).toContain(`${id}/5/1 rollback`)
    const again = await fixture.call(executionsRollback, { execution: id })
    expect(again).toMatchObject({ targets: { count: 1 } })
    await end(again.id)
    await expect(fixture.call(executionsRollback, { execution: back.id })).rejects.toMatchObject({
      code: "executions.invalid-transition",
    })
  })

  it("W6: a rollback that its owner left is finished by the next; no answer is lost in between", async () => {
    await open(4)
    const first = fixture
    const { id } = await start({ concurrency: 4 })
    await end(id)
    const answers = new Map<string, () => void>()
    first.executor.holdRollback = (key) => new Promise((resolve) => answers.set(key, resolve))
    const back = await fixture.call(executionsRollback, { execution: id, concurrency: 2 })
    await eventually(async () => answers.size === 2)
    await first.workflows.owner.abandon()
    for (const answer of answers.values()) answer()
    first.executor.holdRollback = undefined
    fixture = await openFixture({ database: test.database, shared: first })
    expect(await end(back.id)).toMatchObject({ state: "succeeded", counts: { succeeded: 4 } })
  })

  it("W6: a run that stops by itself rolls all targets back where its strategy says so", async () => {
    await open(6)
    fixture.executor.behaviour = ({ key }) => (key.includes("/3/") ? failed : succeeded)
    const { id } = await start({ concurrency: 1, errorLimit: 0, rollback: "all", rollbackConcurrency: "100%" })
    const starts = () => fixture.executor.orders.filter((order) => order.type === "start")
    expect(await end(id)).toMatchObject({ state: "failed", counts: { succeeded: 3, failed: 1, rolledBack: 1 } })
    const [started] = starts()
    expect(started?.type === "start" && started.order.keepMilliseconds).toBe(7 * 86_400_000)
    const [backId = ""] = (await get(id)).rolledBackBy ?? []
    expect(await end(backId)).toMatchObject({
      state: "succeeded",
      width: 3,
      counts: { succeeded: 3 },
      createdBy: "system:workflows",
    })
    const [event] = await test.database.query<{ cause: string; account: string }>(
      "select cause, account from outbox where aggregate_id = $1 and type = 'execution.created'",
      [backId],
    )
    expect(event).toEqual({ cause: (await get(id)).cause, account: testAccount })
  })

  it("W6: an abort puts everything back where the person asks for it", async () => {
    await open(6)
    const held = gate()
    const { id } = await start({ concurrency: 2 })
    await eventually(async () => held.count() === 2)
    held.release(0)
    await eventually(async () => held.count() === 2)
    await fixture.call(executionsAbort, { execution: id, rollback: true })
    await eventually(async () => {
      const [row] = await test.database.query<{ stop: unknown }>("select stop from executions where id = $1", [id])
      return row?.stop !== null
    })
    held.release()
    expect(await end(id)).toMatchObject({ state: "aborted", counts: { succeeded: 3, neverStarted: 3 } })
    const [backId = ""] = (await get(id)).rolledBackBy ?? []
    expect(await end(backId)).toMatchObject({ state: "succeeded", counts: { succeeded: 3 }, createdBy: "system:tests" })
  })
})
