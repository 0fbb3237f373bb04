import { keysCreate } from "@signalbox/contracts/identity/operations"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { done } from "./approvals/approvals-installation.fixture.ts"
import { urlOf } from "./connection-url.fixture.ts"
import { TestInstallation } from "./processes.fixture.ts"

/**
 * `kill -9` of the server while a thousand actions are queued. Whatever it was doing: all of them run, each under the same
 * key, and what each changes is changed once.
 */
const runsCount = 1_000
const killsAt = [50, 400]
const timeoutMilliseconds = 900_000

let database: TestDatabase
let installation: TestInstallation

beforeAll(async () => {
  database = await createTestDatabase()
  installation = await TestInstallation.create()
  await start()
}, timeoutMilliseconds)
afterAll(async () => {
  await installation.remove()
  await database.drop()
}, timeoutMilliseconds)

const start = (): Promise<void> =>
  installation.startServer({ words: ["--insecure"], variables: { DATABASE_URL: urlOf(database.connection) } })

async function countOf(where: string): Promise<number> {
  const [row] = await database.database.query<{ count: number }>(
    `select count(*)::int as count from action_runs r where ${where}`,
  )
  return row?.count ?? 0
}

/** As a firing queues them: in one transaction, with their calls frozen. */
async function queue(author: string): Promise<void> {
  await database.database.query(
    `insert into action_runs (id, account, state, rule, rule_version, number, operation, input, targets, event, author,
       is_own_rule, cause, caused_by, depth, created_at, next_at)
     select 'act_' || n, 'main', 'queued', 'kills', 1, 0, 'groups.put',
       jsonb_build_object('name', 'kills-' || n, 'query', 'a=b'), '{}',
       jsonb_build_object('id', 'evt_' || n, 'type', 'disk.filled', 'subject', 'x'), $1, false, 'evt_' || n, 'evt_' || n, 1,
       now(), now()
     from generate_series(1, $2::int) as n`,
    [author, runsCount],
  )
}

describe("R8: a thousand queued actions", () => {
  test(
    "are all performed, once each and under their own keys, though their server is killed twice",
    async () => {
      const made = done(await installation.client.call(keysCreate, { name: "author", roles: ["admin"] }))
      await queue(`key:${made.id}`)
      for (const count of killsAt) {
        const isUnderWay = async () => (await countOf("state = 'succeeded'")) >= count
        await installation.eventually(`${count} actions to have ended`, isUnderWay, timeoutMilliseconds)
        await installation.server.end("SIGKILL")
        expect(await countOf("state = 'succeeded'"), "the kill comes before the end").toBeLessThan(runsCount)
        await start()
      }
      const isOver = async () => (await countOf("state = 'succeeded'")) === runsCount
      await installation.eventually("all actions to have ended", isOver, timeoutMilliseconds)
      const { database: sql } = database
      const [groups] = await sql.query<{ count: number }>(
        "select count(*)::int as count from node_groups where name like 'kills-%'",
      )
      expect(groups?.count).toBe(runsCount)
      const once =
        "(select count(*) from audit a where a.account = 'main' and a.caused_by = r.id and a.outcome = 'done') = 1"
      expect(await countOf(once)).toBe(runsCount)
      const key = `encode(sha256(convert_to('main', 'utf8') || '\\x00' || convert_to('rule:kills', 'utf8') || '\\x00'
        || convert_to(r.id, 'utf8')), 'hex')`
      expect(await countOf(`exists (select 1 from idempotency i where i.id = ${key})`)).toBe(runsCount)
    },
    timeoutMilliseconds,
  )
})
