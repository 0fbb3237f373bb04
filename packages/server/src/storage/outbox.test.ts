import { setTimeout as delay } from "node:timers/promises"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { settleOutbox } from "@signalbox/testkit/settle-outbox"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import type { Database } from "./database.ts"
import { appendEvents, readEvents, removeOldEvents, type Expander, type NewEvent, type ReadOptions } from "./outbox.ts"

function event(id: string, more: Partial<NewEvent> = {}): NewEvent {
  const base = { account: "acc_1", aggregateId: "exe_1", type: "test.happened", subject: "exe_1", subjectVersion: 1 }
  return { ...base, id, cause: "req_1", causedBy: "req_1", depth: 0, principal: "prn_1", data: { id }, ...more }
}

describe("the outbox", () => {
  let test: TestDatabase
  let database: Database
  beforeAll(async () => {
    test = await createTestDatabase(["storage"])
    database = test.database
  })
  afterAll(() => test.drop())
  beforeEach(async () => {
    await database.query("truncate outbox, consumer")
    await database.query("update outbox_base set xid_base = 0")
  })

  async function append(...events: NewEvent[]): Promise<void> {
    await database.transaction((tx) => appendEvents(tx, events))
    await settleOutbox(database)
  }

  async function readAll(options: Omit<ReadOptions, "limit">, limit: number): Promise<string[]> {
    const ids: string[] = []
    for (let after = options.after, pages = 0; ; pages++) {
      const page = await readEvents(database, { ...options, after, limit })
      ids.push(...page.events.map(({ id }) => id))
      after = page.cursor
      if (!page.more) return ids
      expect(pages).toBeLessThan(1000)
    }
  }

  it("gives back what was written, with the database's time", async () => {
    await append(event("evt_1", { data: { nested: [1, null] } }))
    const { events, cursor, more } = await readEvents(database, { limit: 10 })
    expect(events).toEqual([{ ...event("evt_1", { data: { nested: [1, null] } }), time: expect.any(Number), cursor }])
    expect(more).toBe(false)
    expect((await readEvents(database, { limit: 10, after: cursor })).events).toEqual([])
  })

  it("pages without loss or repetition whatever the page size, filtered or not", async () => {
    for (let i = 10; i < 40; i++) await append(event(`evt_${i}`, { account: `acc_${i % 2}`, type: `t.${i % 3}` }))
    const all = Array.from({ length: 30 }, (_, i) => `evt_${i + 10}`)
    for (const limit of [1, 7, 30, 100]) {
      expect(await readAll({}, limit)).toEqual(all)
      expect(await readAll({ account: "acc_0" }, limit)).toEqual(all.filter((_, i) => i % 2 === 0))
      expect(await readAll({ types: ["t.1", "t.2"] }, limit)).toEqual(all.filter((_, i) => (i + 10) % 3 !== 0))
    }
  })

  it("takes patterns of types; a batch is read for what it holds, never for its own name", async () => {
    const expander: Expander = {
      type: "run.progressed",
      produces: ["task.ended", "task.began"],
      expand: () => ["task.began", "task.ended"].map((type) => ({ type, subject: "t", subjectVersion: 1, data: {} })),
    }
    const expanders = new Map([[expander.type, expander]])
    for (const [index, type] of ["run.began", "run.progressed", "rune.x", "run.ended"].entries())
      await append(event(`evt_${index}`, { type }))
    expect(await readAll({ types: ["run.*"], expanders }, 2)).toEqual(["evt_0", "evt_3"])
    expect(await readAll({ types: ["task.*", "rune.x"], expanders }, 1)).toEqual(["evt_1#0", "evt_1#1", "evt_2"])
    expect(await readAll({ types: ["task.ended", "run.e*"], expanders }, 5)).toEqual(["evt_1#1", "evt_3"])
    expect(await readAll({ types: ["*"], expanders }, 5)).toEqual(
      ["evt_0", "evt_2", "evt_3"].toSpliced(1, 0, "evt_1#0", "evt_1#1"),
    )
    expect(await readAll({ types: [], expanders }, 5)).toEqual([])
  })

  it("moves the cursor over events that the filter leaves out", async () => {
    await append(event("evt_1"), event("evt_2"))
    const page = await readEvents(database, { limit: 10, account: "acc_other" })
    expect(page.events).toEqual([])
    await append(event("evt_3"))
    expect(await readAll({ after: page.cursor }, 10)).toEqual(["evt_3"])
  })

  it("D9: expands a batch at delivery and resumes inside it", async () => {
    const expander: Expander = {
      type: "tasks.changed",
      produces: ["task.succeeded", "task.failed"],
      expand: ({ data }) =>
        (data as { batch: Array<[number, string]> }).batch.map(([ordinal, type]) => ({
          type,
          subject: `tsk_${ordinal}`,
          subjectVersion: ordinal,
          data: { ordinal },
        })),
    }
    const expanders = new Map([[expander.type, expander]])
    const batch = [0, 1, 2, 3].map((n) => [n, n === 2 ? "task.failed" : "task.succeeded"])
    await append(event("evt_a"), event("evt_b", { type: "tasks.changed", data: { batch } }), event("evt_c"))
    const all = ["evt_a", "evt_b#0", "evt_b#1", "evt_b#2", "evt_b#3", "evt_c"]
    for (const limit of [1, 2, 3, 4, 5, 10]) expect(await readAll({ expanders }, limit)).toEqual(all)
    for (const limit of [1, 2]) expect(await readAll({ expanders, types: ["task.failed"] }, limit)).toEqual(["evt_b#2"])
    const { events } = await readEvents(database, { limit: 10, expanders })
    for (const [index, { cursor }] of events.entries()) {
      expect(await readAll({ expanders, after: cursor }, 2)).toEqual(all.slice(index + 1))
    }
    expect(events[3]).toMatchObject({ type: "task.failed", subject: "tsk_2", cause: "req_1", data: { ordinal: 2 } })
  })

  it("D8: loses none under 8 writers whose transactions overlap", { timeout: 120_000 }, async () => {
    const writers = 8
    const each = 150
    let writing = true
    const write = async (writer: number): Promise<void> => {
      for (let i = 0; i < each; i++) {
        await database.transaction(async (tx) => {
          await appendEvents(tx, [event(`evt_${writer}_${i}`, { aggregateId: `exe_${writer}`, subjectVersion: i })])
          // Commits out of the order of ids and transactions: the very thing that a naive cursor loses events by.
          await delay(Math.random() * 8)
        })
      }
    }
    const seen: string[] = []
    const read = async (): Promise<void> => {
      let after: string | undefined
      for (let last = false; !last;) {
        last = !writing
        for (let more = true; more;) {
          const page = await readEvents(database, { after, limit: 50 })
          seen.push(...page.events.map(({ id }) => id))
          after = page.cursor
          more = page.more
        }
      }
    }
    const reading = read()
    await Promise.all(Array.from({ length: writers }, (_, n) => write(n)))
    await settleOutbox(database)
    writing = false
    await reading
    expect(seen.length).toBe(writers * each)
    expect(new Set(seen).size).toBe(writers * each)
  })

  it("says so when a position is past retention, and only then", async () => {
    await append(event("evt_1"))
    const early = (await readEvents(database, { limit: 10 })).cursor
    await append(event("evt_2"))
    const late = (await readEvents(database, { limit: 10 })).cursor
    expect(await database.transaction((tx) => removeOldEvents(tx, 0))).toBe(0)
    expect(await database.transaction((tx) => removeOldEvents(tx, Date.now() + 60_000))).toBe(1)
    await expect(readEvents(database, { limit: 10, after: early })).rejects.toMatchObject({
      code: "events.position-expired",
    })
    expect(await readAll({ after: late }, 10)).toEqual([])
    expect(await readAll({}, 10)).toEqual(["evt_2"])
  })

  it("puts events after those of another cluster once the base is set", async () => {
    await append(event("evt_1"))
    await database.query("update outbox set xid = '1000000000'")
    await database.query("update outbox_base set xid_base = 1000000001")
    await append(event("evt_2"))
    expect(await readAll({}, 1)).toEqual(["evt_1", "evt_2"])
  })

  it("refuses a cursor that is none", async () => {
    for (const after of ["", "x", "WzEsMl0", Buffer.from('["9","e","1"]').toString("base64url")]) {
      await expect(readEvents(database, { limit: 1, after })).rejects.toMatchObject({ code: "request.invalid-cursor" })
    }
  })
})
