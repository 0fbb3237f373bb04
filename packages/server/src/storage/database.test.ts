import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { connectDirect, openDatabase, transactionAttemptsMax, type Database } from "./database.ts"
import { findSqlState } from "./database-error.ts"

describe("the database", () => {
  let test: TestDatabase
  let database: Database
  beforeAll(async () => {
    test = await createTestDatabase(["storage"])
    database = test.database
    await database.query("create table counter (id text primary key, value int not null)")
    await database.query("insert into counter values ('a', 0), ('b', 0)")
  })
  afterAll(() => test.drop())

  it("gives numbers for bigint, milliseconds for instants, text for dates and xid8", async () => {
    const [row] = await database.query(
      `select 5::bigint as big, '{1,2}'::bigint[] as bigs, timestamptz '2030-01-02 03:04:05.678999+02' as instant,
        date '2030-01-02' as day, pg_current_xact_id()::text as xid, '{"a":1}'::jsonb as json, 1.50::numeric as exact,
        array[timestamptz '1970-01-01 00:00:01Z', null] as instants`,
    )
    expect(row).toMatchObject({ big: 5, bigs: [1, 2], instant: Date.UTC(2030, 0, 2, 1, 4, 5, 678), day: "2030-01-02" })
    expect(row).toMatchObject({ json: { a: 1 }, exact: "1.50", instants: [1000, null] })
    await expect(database.query("select 9007199254740993::bigint")).rejects.toThrow("does not fit a number")
    expect(await database.query("select 1 as one")).toEqual([{ one: 1 }])
  })

  it("commits what a transaction wrote, and rolls back all of it when the work throws", async () => {
    await database.transaction((tx) => tx.query("update counter set value = 1 where id = 'a'"))
    const failing = database.transaction(async (tx) => {
      await tx.query("update counter set value = 2 where id = 'a'")
      throw new Error("no")
    })
    await expect(failing).rejects.toThrow("no")
    expect(await database.query("select value from counter where id = 'a'")).toEqual([{ value: 1 }])
  })

  it("does not take the commit of a failed transaction for a success", async () => {
    const hiding = database.transaction(async (tx) => {
      await tx.query("select 1/0").catch(() => {})
    })
    await expect(hiding).rejects.toThrow("whose statement failed")
  })

  it("refuses a statement after the end of its transaction", async () => {
    let kept: { query(text: string): Promise<object[]> } | undefined
    await database.transaction(async (tx) => {
      kept = tx
    })
    await expect(async () => kept?.query("select 1")).rejects.toThrow("after its transaction ended")
  })

  it("commits with the last statement, and nothing of a transaction whose last statement fails", async () => {
    const add = "update counter set value = value + $1::int where id = 'b' returning value"
    const made = database.transaction(async (tx) => {
      await tx.query("update counter set value = 5 where id = 'b'")
      const rows = await tx.queryAndCommit(add, [2], { name: "add-b" })
      return { rows, seen: await database.query("select value from counter where id = 'b'") }
    })
    expect(await made).toEqual({ rows: [{ value: 7 }], seen: [{ value: 7 }] })
    const failing = database.transaction(async (tx) => {
      await tx.query(add, [100])
      await tx.queryAndCommit("select 1 / $1::int", [0])
    })
    expect(findSqlState(await failing.catch((error: unknown) => error))).toBe("22012")
    await database.transaction((tx) => tx.queryAndCommit(add, [1], { name: "add-b" }))
    expect(await database.query("select value from counter where id = 'b'")).toEqual([{ value: 8 }])
    const later = database.transaction(async (tx) => {
      await tx.queryAndCommit(add, [-8])
      await tx.query("select 1")
    })
    await expect(later).rejects.toThrow("after its transaction ended")
  })

  it("tells a commit that is refused", async () => {
    await database.query("create table pair (id int unique deferrable initially deferred)")
    const insert = () => database.transaction((tx) => tx.queryAndCommit("insert into pair values ($1)", [1]))
    await insert()
    expect(findSqlState(await insert().catch((error: unknown) => error))).toBe("23505")
    expect(await database.query("select count(*) as count from pair")).toEqual([{ count: 1 }])
  })

  it("runs a transaction again after a deadlock", async () => {
    let attempts = 0
    const both: Array<() => void> = []
    const meet = (): Promise<void> =>
      new Promise((resolve) => {
        both.push(resolve)
        if (both.length >= 2) for (const go of both) go()
      })
    const lock = (first: string, second: string): Promise<unknown> =>
      database.transaction(async (tx) => {
        attempts++
        await tx.query("update counter set value = value + 10 where id = $1", [first])
        await meet()
        await tx.query("update counter set value = value + 10 where id = $1", [second])
      })
    await Promise.all([lock("a", "b"), lock("b", "a")])
    expect(attempts).toBe(3)
    expect(await database.query("select sum(value) as sum from counter")).toEqual([{ sum: 41 }])
  })

  it("gives up after the stated number of attempts", async () => {
    let attempts = 0
    const failing = database.transaction(async (tx) => {
      attempts++
      await tx.query("do $$ begin raise exception using errcode = '40001'; end $$")
    })
    const error = await failing.then(
      () => undefined,
      (caught: unknown) => caught,
    )
    expect(findSqlState(error)).toBe("40001")
    expect(attempts).toBe(transactionAttemptsMax)
  })

  it("reports a lost connection as storage.unavailable and works again afterwards", async () => {
    const killed = database.transaction(async (tx) => {
      const [row] = await tx.query<{ id: number }>("select pg_backend_pid() as id")
      await database.query("select pg_terminate_backend($1, 5000)", [row?.id])
      await tx.query("select 1")
    })
    await expect(killed).rejects.toMatchObject({ code: "storage.unavailable" })
    expect(await database.query("select 1 as one")).toEqual([{ one: 1 }])
  })

  it("sends what is called on a lane at once, in order, and goes on behind a statement that fails", async () => {
    const lane = await database.openLane()
    if (!lane) throw new Error("a lane is free")
    await database.query("update counter set value = 0 where id = 'a'")
    const add = "update counter set value = value * 10 + $1::int where id = 'a' returning value"
    const locked = await connectDirect(test.connection)
    await locked.query("begin; select 1 from signalbox.counter where id = 'a' for update")
    const answers = [
      lane.query(add, [1], { name: "add" }),
      lane.query(add, [2], { name: "add" }),
      lane.query("select 1/0"),
      lane.query(add, [3], { name: "add" }),
    ].map((answer) => answer.catch((error: unknown) => findSqlState(error)))
    const closed = lane.close()
    await locked.query("commit")
    await locked.end()
    expect(await Promise.all(answers)).toEqual([[{ value: 1 }], [{ value: 12 }], "22012", [{ value: 123 }]])
    await closed
    expect(() => lane.query("select 1")).toThrow("given back")
  })

  it("gives out a quarter of its connections as lanes, and one that was lost is replaced", async () => {
    const other = await openDatabase({ connection: test.connection, connectionsMax: 4 })
    const lane = await other.openLane()
    if (!lane) throw new Error("a lane is free")
    expect(await other.openLane()).toBeUndefined()
    const [row] = await lane.query<{ id: number }>("select pg_backend_pid() as id")
    const sent = [lane.query("select pg_sleep(60)"), lane.query("select 1")]
    await database.query("select pg_terminate_backend($1, 5000)", [row?.id])
    for (const answer of sent) await expect(answer).rejects.toMatchObject({ code: "storage.unavailable" })
    await lane.close()
    const next = await other.openLane()
    expect(await next?.query("select 1 as one")).toEqual([{ one: 1 }])
    await next?.close()
    await other.close()
  })

  it("ends a transaction that is left idle, so that it cannot hold back readers of the outbox", async () => {
    const [row] = await database.query(
      "select current_setting('idle_in_transaction_session_timeout') as idle, current_setting('TimeZone') as zone",
    )
    expect(row).toEqual({ idle: "30s", zone: "UTC" })
  })

  it("keeps options that an address brings along", async () => {
    const { host, port, user, database: name } = test.connection as unknown as Record<string, string>
    const address = `postgres://${user}@/${name}?host=${encodeURIComponent(host ?? "")}&port=${port}&options=-c%20work_mem%3D7MB`
    const other = await openDatabase({ connection: address, connectionsMax: 1 })
    expect(await other.query("select current_setting('work_mem') as memory, current_schema() as schema")).toEqual([
      { memory: "7MB", schema: "signalbox" },
    ])
    await other.close()
  })

  it("is unavailable where nothing listens, on the pool and directly", async () => {
    const connection = { host: "127.0.0.1", port: 1, user: "x", database: "x" }
    await expect(openDatabase({ connection, connectionsMax: 1 })).rejects.toMatchObject({ code: "storage.unavailable" })
    await expect(connectDirect(connection)).rejects.toMatchObject({ code: "storage.unavailable" })
    await expect(openDatabase({ connection: "nonsense", connectionsMax: 1 })).rejects.toMatchObject({
      code: "settings.invalid",
    })
  })
})
