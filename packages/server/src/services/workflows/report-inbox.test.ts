import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import type { ExecutorReport } from "../../router/ports.ts"
import { ReportInbox } from "./report-inbox.ts"
import { inboxRetention } from "./report-inbox-store.ts"
import { eventually } from "./workflows.fixture.ts"

let test_: TestDatabase
const [open, ended, rollback] = ["1", "2", "3"].map((digit) => `exe_${digit.repeat(26)}`) as [string, string, string]
const notifier = { notify: () => undefined, subscribe: () => () => undefined }

beforeAll(async () => {
  test_ = await createTestDatabase()
  for (const [id, finished, rollbackOf] of [
    [open, null, null],
    [ended, "now", null],
    [rollback, null, ended],
  ])
    await test_.database.query(
      `insert into executions (id, account, state, workflow_name, targets_text, targets_count, concurrency, width,
         error_limit, errors_max, counts, rollbacks, version, cause, caused_by, depth, created_by, finished_at, rollback_of)
       values ($1, 'main', 'running', 't', 't', 1, '1', 1, '1', 1, '{}', '{}', 1, 'r', 'r', 0, 'k', $2::timestamptz, $3)`,
      [id, finished, rollbackOf],
    )
})
beforeAll(async () => {
  for (const id of [open, ended])
    await test_.database.query(
      "insert into execution_targets (execution_id, ordinal, account, node_id, node_name) values ($1, 0, 'main', 'nod_1', 'n')",
      [id],
    )
})
beforeEach(() => test_.database.query("delete from agent_inbox"))
afterAll(() => test_.drop())

const rows = () =>
  test_.database.query("select execution_id as execution, type, phase from agent_inbox order by written_at, type")

/** A server that runs these executions, and takes reports while `takes` says so. */
function openServer(executions: readonly string[], takes: () => boolean = () => true) {
  const [heard, late, asked]: [ExecutorReport[], ExecutorReport[], ExecutorReport[]] = [[], [], []]
  const inbox = new ReportInbox({ sql: test_.database, notifier, onError: (error) => expect(error).toBeUndefined() })
  inbox.start({
    executions: () => executions,
    hear: (report) => {
      asked.push(report)
      if (takes()) heard.push(report)
      return takes()
    },
    late: (report) => late.push(report),
  })
  return { inbox, heard, late, asked }
}

const started = (execution: string): ExecutorReport => ({
  ...{ type: "started", nodeId: "nod_1", key: `${execution}/0/1`, phase: "task" },
})
const finished = (execution: string): ExecutorReport => ({
  ...{ type: "task-finished", nodeId: "nod_1", key: `${execution}/0/1` },
  outcome: { state: "succeeded", message: "\0\ud800", steps: [] },
})
const rolledBack = (execution: string): ExecutorReport => ({
  ...{ type: "rollback-finished", nodeId: "nod_1", key: `${execution}/0/1` },
  outcome: { state: "rolled-back", restored: 0, undone: [] },
})

test("W9: a report goes to the run that waits for it, once; the end of an attempt says that it began", async () => {
  const sender = openServer([])
  for (const report of [started(open), finished(open), finished(open), rolledBack(ended), finished(ended)])
    sender.inbox.send(report)
  await eventually(async () => sender.late.length === 1)
  expect(sender.late).toEqual([finished(ended)])
  expect(await rows()).toEqual([
    { execution: open, type: "task-finished", phase: "task" },
    { execution: rollback, type: "rollback-finished", phase: "rollback" },
  ])
  const owner = openServer([open, rollback])
  await eventually(async () => owner.heard.length === 2 && (await rows()).length === 0)
  expect(owner.heard).toEqual([finished(open), rolledBack(ended)])
  for (const { inbox } of [sender, owner]) await inbox.stop()
})

test("X7: a report of a node that was not given the task keeps no other's away", async () => {
  const sender = openServer([])
  const lie = { ...finished(open), nodeId: "nod_liar" }
  sender.inbox.send(lie)
  await eventually(async () => sender.late.length === 1)
  expect(sender.late).toEqual([lie])
  expect(await rows()).toEqual([])
  await sender.inbox.stop()
})

test("W9: what a run can't take yet stays, for it or for the next owner", async () => {
  const sender = openServer([])
  sender.inbox.send(started(open))
  const early = openServer([open], () => false)
  await eventually(async () => early.asked.length > 1)
  await early.inbox.stop()
  expect(await rows()).toHaveLength(1)
  const next = openServer([open])
  await eventually(async () => (await rows()).length === 0)
  expect(next.heard).toEqual([started(open)])
  for (const { inbox } of [sender, next]) await inbox.stop()
})

test("reports that no run took are removed after an hour", async () => {
  const sender = openServer([])
  for (const report of [started(open), rolledBack(ended)]) sender.inbox.send(report)
  await eventually(async () => (await rows()).length === 2)
  await test_.database.query("update agent_inbox set written_at = now() - interval '2 hours' where execution_id = $1", [
    open,
  ])
  await inboxRetention.run({ database: test_.database, signal: new AbortController().signal } as never)
  expect(await rows()).toEqual([{ execution: rollback, type: "rollback-finished", phase: "rollback" }])
  await sender.inbox.stop()
})
