import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import { claimSessions } from "./directory-store.ts"
import { findOrders, removeLate, removeOrders, takeOrders, writeOrders, type WrittenOrder } from "./relay-store.ts"

let test_: TestDatabase
const node = "nod_relay"
const key = `exe_${"1".repeat(26)}/0/1`

beforeAll(async () => {
  test_ = await createTestDatabase()
  await test_.database.query(
    `insert into nodes (id, account, name, public_key, enrolled_with, tags) values ($1, 'main', 'n', 'k', 'k', '{}')`,
    [node],
  )
})
beforeEach(() => test_.database.query("delete from agent_outbox"))
afterAll(() => test_.drop())

const order = (changes: Partial<WrittenOrder> = {}): WrittenOrder => ({
  ...{ nodeId: node, key, type: "start", content: "{}", sealed: null, expiresAt: Date.now() + 600_000 },
  ...changes,
})

const home = (server: string) =>
  claimSessions(test_.database, server, [{ account: "main", nodeId: node, sessionId: `ses_of_${server}` }])

const found = (server: string) => findOrders(test_.database, server, 10)

test("W9: a row goes to the server that has the node, to each that gets it, and to none twice", async () => {
  await home("one")
  await writeOrders(test_.database, [order({ content: '{"text":"\\u0000\\ud800"}', sealed: "s" })])
  expect(await found("two")).toEqual([])
  const rows = await found("one")
  expect(rows).toMatchObject([{ nodeId: node, key, type: "start", sealed: "s", version: 1 }])
  await takeOrders(test_.database, "one", rows)
  expect(await found("one")).toEqual([])
  expect(await home("two")).toEqual([{ nodeId: node, sessionId: "ses_of_one" }])
  expect(await found("two")).toHaveLength(1)
})

test("W9: an order that is given again is carried again, and an older version of it removes nothing", async () => {
  await home("one")
  await writeOrders(test_.database, [order()])
  const before = await found("one")
  await takeOrders(test_.database, "one", before)
  await writeOrders(test_.database, [order({ content: '{"again":true}' })])
  await removeOrders(test_.database, before)
  await takeOrders(test_.database, "one", before)
  const after = await found("one")
  expect(after).toMatchObject([{ version: 2, content: { again: true } }])
  await removeOrders(test_.database, after)
  expect(await found("one")).toEqual([])
})

test("W8: a kill takes its start back, and no other", async () => {
  await home("one")
  const other = `exe_${"2".repeat(26)}/0/1`
  await writeOrders(test_.database, [order(), order({ key: other })])
  await writeOrders(test_.database, [order({ type: "kill" })])
  expect((await found("one")).map((row) => [row.type, row.key])).toEqual([
    ["start", other],
    ["kill", key],
  ])
})

test("what is too late, and what is for a node that is gone, is not carried", async () => {
  await home("one")
  await writeOrders(test_.database, [order({ expiresAt: Date.now() - 1 }), order({ nodeId: "nod_gone" })])
  expect(await found("one")).toEqual([])
  expect(await removeLate(test_.database, 10)).toBe(1)
  expect(await test_.database.query("select 1 from agent_outbox")).toEqual([])
})
