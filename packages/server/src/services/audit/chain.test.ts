import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { settleOutbox } from "@signalbox/testkit/settle-outbox"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { ChainCheck, chainStart } from "../../storage/audit-chain.ts"
import { findChainLink, findStretch, readChainPage } from "../../storage/audit-pages.ts"
import { verifyAuditChains } from "../../storage/audit-verify.ts"
import { newSigningKey, recordSigningKey } from "../../storage/signing-key.ts"
import { systemClock } from "../../system.ts"
import { Sealer } from "./sealer.ts"

let test_: TestDatabase
const signingKey = newSigningKey()
const account = "main"

const query = <Row extends object>(text: string, values: readonly unknown[] = []) =>
  test_.database.query<Row>(text, values)
const newSealer = () =>
  new Sealer({ sql: test_.database, clock: systemClock, signingKey, logger: { warn: () => undefined } })

async function seal(): Promise<void> {
  await settleOutbox(test_.database)
  for (let settled = false; !settled;) {
    await newSealer().sealAll()
    const waiting = await query(
      `select 1 from audit a left join audit_chains c on c.account = a.account
       where (a.xid, a.id collate "C") > (coalesce(c.xid, '0'), coalesce(c.id, '')) limit 1`,
    )
    settled = waiting.length === 0
  }
}

async function writeRecord(id: string, of = account): Promise<void> {
  await query(
    `insert into audit (aggregate_id, id, account, principal, operation, subject, outcome, cause, caused_by, source_address, input_digest)
     values ($1, $2, $3, 'key:key_1', 'groups.put', $1, 'done', $2, 'req_0', '10.0.0.1', 'd')`,
    [`grp_${id}`, id, of],
  )
}

const idOf = (n: number) => `req_${String(n).padStart(6, "0")}`
const faultOf = async (of = account) =>
  (await verifyAuditChains(test_.database))?.faults.find((fault) => fault.account === of)

beforeAll(async () => {
  test_ = await createTestDatabase()
  await recordSigningKey(test_.database, signingKey)
})
afterAll(() => test_.drop())
beforeEach(async () => {
  await query("truncate audit, audit_chains, audit_seals, audit_checkpoints")
})

describe("X3: sealing", () => {
  test("every record gets a number, in the order of commits, in a chain of its own account", async () => {
    for (let n = 1; n <= 600; n++) await writeRecord(idOf(n), n % 3 === 0 ? "other" : account)
    await seal()
    await writeRecord(idOf(601))
    await seal()
    expect(await query("select account, number from audit_chains order by account")).toEqual([
      { account, number: 401 },
      { account: "other", number: 200 },
    ])
    const seals = await query<{ id: string }>(
      "select record_id as id from audit_seals where account = 'other' order by number",
    )
    expect(seals.map(({ id }) => id)).toEqual(Array.from({ length: 200 }, (_, index) => idOf(3 * index + 3)))
    expect(await verifyAuditChains(test_.database)).toEqual({ records: 601, faults: [] })
  })

  test("what an open transaction may still come before is not sealed", async () => {
    let release: (() => void) | undefined
    const open = test_.database.transaction(async (tx) => {
      await tx.query(
        `insert into audit (aggregate_id, id, account, principal, operation, subject, outcome, cause, input_digest)
         values ('grp_1', 'req_late', 'main', 'p', 'o', 's', 'done', 'c', 'd')`,
      )
      await new Promise<void>((resolve) => (release = resolve))
    })
    await expect.poll(() => release !== undefined).toBe(true)
    await writeRecord("req_early")
    await newSealer().sealAll()
    expect(await query("select 1 from audit_seals")).toEqual([])
    release?.()
    await open
    await seal()
    expect(await query("select record_id as id from audit_seals order by number")).toEqual([
      { id: "req_late" },
      { id: "req_early" },
    ])
  })

  test("a head is signed, and signed again after a thousand records", async () => {
    const sign = async () => {
      await seal()
      await newSealer().signHeads()
      return await query("select number from audit_checkpoints order by number")
    }
    await writeRecord(idOf(1))
    expect(await sign()).toEqual([{ number: 1 }])
    await writeRecord(idOf(2))
    expect(await sign()).toEqual([{ number: 1 }])
    await query(
      `insert into audit (aggregate_id, id, account, principal, operation, subject, outcome, cause, input_digest)
       select 'grp_1', 'req_1' || lpad(n::text, 5, '0'), 'main', 'p', 'o', 's', 'done', 'c', 'd' from generate_series(1, 1000) n`,
    )
    expect(await sign()).toEqual([{ number: 1 }, { number: 1002 }])
    expect(await faultOf()).toBeUndefined()
    await query("update audit_checkpoints set signed_at = now() - interval '2 hours'")
    await writeRecord(idOf(200_000))
    expect(await sign()).toEqual([{ number: 1 }, { number: 1002 }, { number: 1003 }])
  })

  test(
    "eight writers, two sealers that are killed again and again: no gap, no fork, nothing twice",
    { timeout: 120_000 },
    async () => {
      const script = fileURLToPath(new URL("./sealer.fixture.ts", import.meta.url))
      const words = ["--conditions=source", script, JSON.stringify(test_.connection)]
      const start = async (): Promise<ChildProcess> => {
        const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] })
        await once(child.stdout, "data")
        return child
      }
      let writing = true
      const perWriter = 300
      const writers = Array.from({ length: 8 }, async (_, writer) => {
        for (let n = 0; n < perWriter; n++) await writeRecord(`req_${writer}_${String(n).padStart(4, "0")}`)
      })
      const kills = Array.from({ length: 2 }, async () => {
        let killed = 0
        while (writing || killed < 2) {
          const child = await start()
          const sealed = async () =>
            (await query<{ number: number }>("select number from audit_chains"))[0]?.number ?? 0
          const before = await sealed()
          await expect.poll(async () => !writing || (await sealed()) > before + 100, { timeout: 60_000 }).toBe(true)
          child.kill("SIGKILL")
          await once(child, "exit")
          killed++
        }
        return killed
      })
      await Promise.all(writers)
      writing = false
      for (const killed of await Promise.all(kills)) expect(killed).toBeGreaterThanOrEqual(2)
      await seal()
      expect(await verifyAuditChains(test_.database)).toEqual({ records: 8 * perWriter, faults: [] })
      const [twice] = await query("select record_id from audit_seals group by record_id having count(*) > 1")
      expect(twice).toBeUndefined()
    },
  )
})

describe("X3: a stretch of the chain", () => {
  const begin = Date.UTC(2030, 0, 1)
  const hour = 3_600_000
  const hours = 200

  beforeEach(async () => {
    await query(
      `insert into audit (aggregate_id, id, account, time, principal, operation, subject, outcome, cause, input_digest)
       select 'grp_1', 'req_' || lpad(n::text, 6, '0'), 'main', to_timestamp($1::float8 / 1000) + make_interval(hours => n),
         'p', 'o', 's', 'done', 'c', 'd' from generate_series(1, $2::int) n`,
      [begin, hours],
    )
    await seal()
  })

  test.each([
    [undefined, undefined, 1, hours],
    [begin + 20 * hour, begin + 30 * hour, 20, 30],
    [begin + 20.5 * hour, undefined, 21, hours],
    [undefined, begin + 20.5 * hour, 1, 20],
    [begin - 5 * hour, begin - hour, 1, 0],
    [begin + 500 * hour, undefined, hours + 1, hours],
  ])("from %s to %s holds every record of that time, and fits by itself", async (...[from, to, first, last]) => {
    const stretch = await findStretch(test_.database, { account, from, to })
    expect(stretch).toEqual({ first, last })
    const start = await findChainLink(test_.database, account, first - 1)
    const check = new ChainCheck({ account, start: start ?? chainStart })
    const page = { account, afterNumber: first - 1, upToNumber: last, limit: 1000 }
    const { items, unsealed } = await readChainPage(test_.database, page)
    for (const item of items) expect(check.check(item)).toBeUndefined()
    expect({ unsealed, last: check.last.number }).toEqual({ unsealed: [], last })
  })
})

describe("X3: tampering is found", () => {
  const middle = 5

  beforeEach(async () => {
    for (let n = 1; n <= 10; n++) await writeRecord(idOf(n))
    await seal()
    expect(await faultOf()).toBeUndefined()
  })

  test("one byte of any column, whatever columns there are", async () => {
    const columns = await query<{ name: string; type: string }>(
      `select attname as name, format_type(atttypid, null) as type from pg_attribute
       where attrelid = 'audit'::regclass and attnum > 0 and not attisdropped`,
    )
    expect(columns.length).toBeGreaterThan(12)
    for (const { name, type } of columns) {
      await query("create table audit_kept as select * from audit")
      const value =
        type === "timestamp with time zone"
          ? `${name} + interval '1 microsecond'`
          : type === "xid8"
            ? `(${name}::text::bigint + 1)::text::xid8`
            : `overlay(${name} placing '~' from 1 for 1)`
      await query(`update audit set ${name} = ${value} where id = $1`, [idOf(middle)])
      expect(await faultOf(), name).toMatchObject({ number: middle })
      await query("truncate audit")
      await query("insert into audit select * from audit_kept")
      await query("drop table audit_kept")
      expect(await faultOf(), name).toBeUndefined()
    }
  })

  test("a value that was put in the place of none, and none in the place of a value", async () => {
    await query("update audit set caused_by = null where id = $1", [idOf(middle)])
    expect(await faultOf()).toMatchObject({ number: middle })
  })

  test("a row deleted, with or without its seal", async () => {
    await query("delete from audit where id = $1", [idOf(middle)])
    expect(await faultOf()).toMatchObject({ number: middle, what: expect.stringContaining("gone") as string })
    await query("delete from audit_seals where number = $1", [middle])
    expect(await faultOf()).toMatchObject({ number: middle, what: expect.stringContaining("missing") as string })
  })

  test("two rows swapped, and two seals", async () => {
    const swap = (table: string, key: string, column: string) =>
      `update ${table} t set ${column} = o.${column} from ${table} o
       where t.account = 'main' and (t.${key} = $1 and o.${key} = $2 or t.${key} = $2 and o.${key} = $1)`
    const records = [idOf(middle), idOf(middle + 1)]
    await query(swap("audit", "id", "subject"), records)
    expect(await faultOf()).toMatchObject({ number: middle })
    await query(swap("audit", "id", "subject"), records)
    expect(await faultOf()).toBeUndefined()
    await query(swap("audit_seals", "number", "record_id"), [middle, middle + 1])
    await query(swap("audit_seals", "number", "record_aggregate"), [middle, middle + 1])
    expect(await faultOf()).toMatchObject({ number: middle })
  })

  test.each([
    ["in the middle", middle],
    ["before the first", 1],
    ["before the last", 10],
  ])("a row put in %s", async (_where, number) => {
    await query(
      `insert into audit (aggregate_id, id, account, principal, operation, subject, outcome, cause, input_digest, xid)
       select 'grp_x', id || '0', account, principal, operation, subject, outcome, cause, input_digest,
         (xid::text::bigint - 1)::text::xid8 from audit where id = $1`,
      [idOf(number)],
    )
    await newSealer().sealAll()
    expect(await faultOf()).toMatchObject({
      id: `${idOf(number)}0`,
      what: expect.stringContaining("never sealed") as string,
    })
  })

  test("the tail cut off: rows, rows and seals, and the head with them where it was signed", async () => {
    await newSealer().signHeads()
    await query("delete from audit where id > $1", [idOf(7)])
    expect(await faultOf()).toMatchObject({ number: 8 })
    await query("delete from audit_seals where number > 7")
    expect(await faultOf()).toMatchObject({ number: 8, what: expect.stringContaining("up to 10") as string })
    await query(
      `update audit_chains c set number = 7, hash = s.hash, xid = a.xid, id = a.id from audit_seals s, audit a
       where s.number = 7 and a.id = s.record_id`,
    )
    expect(await faultOf()).toMatchObject({ number: 8, what: expect.stringContaining("up to 10") as string })
  })

  test("a checkpoint that nobody of this installation signed", async () => {
    const stranger = new Sealer({
      ...{ sql: test_.database, clock: systemClock, logger: { warn: () => undefined } },
      signingKey: newSigningKey(),
    })
    await stranger.signHeads()
    expect(await faultOf()).toMatchObject({ number: 10, what: expect.stringContaining("not signed") as string })
  })
})
