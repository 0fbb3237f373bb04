import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { settleOutbox } from "@signalbox/testkit/settle-outbox"
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { backupDatabase, moveDatabase, restoreDatabase } from "../../storage/backup.ts"
import { verifyAuditChains } from "../../storage/audit-verify.ts"
import { components } from "../../storage/components.ts"
import { openDatabase, type Connection, type Database } from "../../storage/database.ts"
import { migrateBackgroundQueue } from "../../storage/background-queue.ts"
import { newSigningKey, recordSigningKey } from "../../storage/signing-key.ts"
import { systemClock } from "../../system.ts"
import { Sealer } from "./sealer.ts"

const program = { programVersion: "1.0.0", components }
const signingKey = newSigningKey()
let source: TestDatabase
let directory: string

async function write(database: Database, from: number, to: number): Promise<void> {
  await database.query(
    `insert into audit (aggregate_id, id, account, principal, operation, subject, outcome, cause, input_digest)
     select 'grp_1', 'req_' || lpad(n::text, 6, '0'), 'main', 'key:k', 'groups.put', 's', 'done', 'c', 'd'
     from generate_series($1::int, $2::int) n`,
    [from, to],
  )
  await settleOutbox(database)
  const sealer = new Sealer({ sql: database, clock: systemClock, signingKey, logger: { warn: () => undefined } })
  const sealed = async () => (await database.query<{ number: number }>("select number from audit_chains"))[0]?.number
  const seal = async () => {
    await sealer.sealAll()
    expect(await sealed()).toBe(to)
  }
  await vi.waitFor(seal, { timeout: 30_000 })
  await sealer.signHeads()
}

async function intoEmpty(work: (connection: Connection) => Promise<void>): Promise<void> {
  const empty = await createEmptyDatabase()
  try {
    await work(empty.connection)
  } finally {
    await empty.drop()
  }
}

async function expectChainGoesOn(connection: Connection): Promise<void> {
  const database = await openDatabase({ connection, connectionsMax: 2 })
  try {
    expect(await verifyAuditChains(database)).toEqual({ records: 300, faults: [] })
    await write(database, 301, 320)
    expect(await verifyAuditChains(database)).toEqual({ records: 320, faults: [] })
  } finally {
    await database.close()
  }
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox chain "))
  source = await createTestDatabase()
  await migrateBackgroundQueue(source.connection)
  await recordSigningKey(source.database, signingKey)
  await write(source.database, 1, 300)
})
afterAll(async () => {
  await source.drop()
  await rm(directory, { recursive: true, force: true })
})

describe("X3, X6: copies of all data", () => {
  const whole = { records: 300, faults: [] }

  test("a backup and its restore say that the chains fit, and the chain goes on after it", async () => {
    const path = join(directory, "whole.backup")
    expect(await backupDatabase({ connection: source.connection, path, programVersion: "1.0.0" })).toMatchObject({
      audit: whole,
    })
    await intoEmpty(async (connection) => {
      expect(await restoreDatabase({ ...program, connection, path })).toMatchObject({ audit: whole })
      await expectChainGoesOn(connection)
    })
  })

  test("so does a move", () =>
    intoEmpty(async (connection) => {
      expect(await moveDatabase({ ...program, from: source.connection, to: connection })).toMatchObject({
        audit: whole,
      })
      await expectChainGoesOn(connection)
    }))

  test("a beginning that was taken out up to a signed checkpoint is no fault; up to anything else it is", () =>
    intoEmpty(async (connection) => {
      await moveDatabase({ ...program, from: source.connection, to: connection })
      const database = await openDatabase({ connection, connectionsMax: 2 })
      try {
        await write(database, 301, 320)
        await database.query("update audit_checkpoints set signed_at = now() - interval '2 hours'")
        await write(database, 321, 340)
        const prune = async (number: number) => {
          await database.query("delete from audit where id in (select record_id from audit_seals where number <= $1)", [
            number,
          ])
          await database.query("delete from audit_seals where number <= $1", [number])
        }
        await prune(300)
        expect(await verifyAuditChains(database)).toEqual({ records: 340, faults: [] })
        await prune(310)
        expect((await verifyAuditChains(database))?.faults).toEqual([
          { account: "main", number: 1, what: "records 1 to 310 are missing" },
        ])
      } finally {
        await database.close()
      }
    }))

  test("a chain that does not fit is copied as it is, and said", async () => {
    await source.database.query("update audit set outcome = 'identity.permission-denied' where id = 'req_000123'")
    const path = join(directory, "broken.backup")
    const fault = { account: "main", number: 123, id: "req_000123" }
    const faults = { audit: { faults: [fault] } }
    expect(await backupDatabase({ connection: source.connection, path, programVersion: "1.0.0" })).toMatchObject(faults)
    await intoEmpty(async (connection) => {
      expect(await restoreDatabase({ ...program, connection, path })).toMatchObject(faults)
    })
  })
})
