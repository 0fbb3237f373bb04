import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, expect, it } from "vitest"
import { executionsCreate, executionsGet, tasksGet } from "@signalbox/contracts/workflows/operations"
import { AppError } from "@signalbox/kernel/app-error"
import type { SecretReader } from "../../router/ports.ts"
import { documentOf, eventually, makeNodes, openFixture, succeeded } from "./workflows.fixture.ts"

let test: TestDatabase
beforeAll(async () => {
  test = await createTestDatabase()
})
afterAll(() => test.drop())

it("X6: a report of a run that is not on record, as after a restore, is acknowledged: no owner ever would", async () => {
  const fixture = await openFixture({ database: test.database, nodes: makeNodes(1) })
  const key = `exe_${"0".repeat(26)}/0/1`
  const report = { type: "task-finished", nodeId: "nod_0000000", key, outcome: succeeded } as const
  fixture.executor.report(report)
  await eventually(async () => fixture.executor.acknowledged.includes(`${key} task`))
  expect(fixture.workflows.owner.foreignCount).toBe(0)
  await fixture.stop()
})

it.each(["on-failure", "never"] as const)(
  "W6, D14: a node that was given up without its word and did begin goes back, where rollback is %s",
  async (rollback) => {
    const fixture = await openFixture({ database: test.database, nodes: makeNodes(1) })
    const { executor } = fixture
    executor.behaviour = () => "stall"
    const document = documentOf({ startTimeout: "1s", rollback })
    const { id } = await fixture.call(executionsCreate, { document, targets: { all: true } })
    await eventually(async () => (await fixture.call(executionsGet, { execution: id })).finishedAt !== undefined)
    const [nodeId, key] = [fixture.fleet.nodes[0]?.id ?? "", `${id}/0/1`]
    await eventually(async () => executor.acknowledged.includes(`${key} task`))
    executor.acknowledged.length = 0
    executor.orders.length = 0
    const told = () => executor.orders.map(({ type }) => type)

    executor.report({ type: "started", nodeId, key, phase: "task" })
    await eventually(async () => told().includes("kill"))
    const isBack = rollback === "on-failure"
    expect(told()).toEqual(isBack ? ["kill", "rollback"] : ["kill"])
    if (isBack) await eventually(async () => executor.acknowledged.includes(`${key} rollback`))
    executor.acknowledged.length = 0
    executor.orders.length = 0

    executor.report({ type: "task-finished", nodeId, key, outcome: succeeded })
    await eventually(async () => executor.acknowledged.includes(`${key} task`))
    expect(told()).toEqual(isBack ? ["rollback"] : [])
    const { state } = await fixture.call(tasksGet, { execution: id, task: "0" })
    expect(state).toBe("unreachable")
    await fixture.stop()
  },
)

it("W6, X5: a late rollback has the secrets that the plan fixed, also where there are newer ones", async () => {
  const values: Record<number, string> = { 3: "third-password", 4: "fourth-password" }
  let latest = 3
  const secrets: SecretReader = {
    read: async () => ({}),
    versions: async (_, names) => Object.fromEntries(names.map((name) => [name, latest])),
    async readVersions(_, places) {
      const found = places.map(({ name, version }) => [name, { version, value: values[version] ?? "" }] as const)
      if (found.some(([, { value }]) => value === "")) throw new AppError("secrets.not-found", "no longer that version")
      return Object.fromEntries(found)
    },
  }
  const fixture = await openFixture({ database: test.database, nodes: makeNodes(1), secrets })
  const { executor } = fixture
  executor.behaviour = () => "stall"
  const steps = [{ name: "join", run: ["join"], undo: ["leave", "${{ secrets.password }}"] }]
  const document = documentOf({ startTimeout: "1s", rollback: "on-failure", steps })
  const { id } = await fixture.call(executionsCreate, { document, targets: { all: true } })
  await eventually(async () => (await fixture.call(executionsGet, { execution: id })).finishedAt !== undefined)
  latest = 4
  const [nodeId, key] = [fixture.fleet.nodes[0]?.id ?? "", `${id}/0/1`]
  const orderOfRollback = async () => {
    executor.orders.length = 0
    executor.report({ type: "started", nodeId, key, phase: "task" })
    return eventually(async () => executor.orders.find(({ type }) => type === "rollback"))
  }
  expect(await orderOfRollback()).toMatchObject({ key, secrets: { password: "third-password" } })
  // Five versions later: its files can be put back all the same.
  delete values[3]
  expect(await orderOfRollback()).not.toHaveProperty("secrets")
  await fixture.stop()
})
