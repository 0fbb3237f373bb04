import { createHash } from "node:crypto"
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { buffer } from "node:stream/consumers"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { settleOutbox } from "@signalbox/testkit/settle-outbox"
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { readBackupFile } from "./backup-container.ts"
import { backupDatabase, moveDatabase, restoreDatabase } from "./backup.ts"
import { migrateBackgroundQueue } from "./background-queue.ts"
import { openDatabase, type Connection, type Database } from "./database.ts"
import { openDirectoryBlobStore, readDirectoryBlobs } from "./directory-blob-store.ts"
import { appendEvents, readEvents } from "./outbox.ts"

const components = ["storage"]
const program = { programVersion: "1.0.0", components }
const odd = 'tab\t, line\n, back\\slash, "quotes", é, \u{1f642}, \\N'

describe("X6: backup, restore and move without any client program", () => {
  let directory: string
  let source: TestDatabase
  let path: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "signalbox backup "))
    path = join(directory, "a backup")
    source = await createTestDatabase(components)
    await migrateBackgroundQueue(source.connection)
    const { database } = source
    for (let n = 0; n < 5; n++) await write(database, n * 200, 200)
    await database.query("update outbox set xid = (xid::text::bigint + 5000000000)::text::xid8")
    await database.query("update outbox_base set xid_base = 6000000000")
    await write(database, 1000, 1)
    const { cursor } = await readEvents(database, { limit: 1000 })
    await database.query("insert into consumer (name, cursor) values ('mail', $1)", [cursor])
    await database.query(
      "insert into idempotency (id, account, operation, body_hash, response) values ('i', 'acc_1', 'o', 'h', $1)",
      [JSON.stringify({ odd })],
    )
    await database.query("insert into server (id, leased_until) values ('srv_1', now() - interval '1 hour')")
    await database.query("select graphile_worker.add_job('event:mail', '{\"id\":\"evt_7\"}', job_key => 'mail:evt_7')")
    const blobs = await openDirectoryBlobStore({ directory: join(directory, "blobs"), bytesMax: 10_000_000 })
    await blobs.put(Buffer.alloc(300_000, "blob"))
    await blobs.put(Buffer.alloc(0))
    const summary = await backupDatabase({ connection: source.connection, path, programVersion: "1.0.0", blobs })
    expect(summary.tables).toContainEqual({ name: "outbox", rows: 1001 })
    expect(summary.blobs).toBe(2)
  })
  afterAll(async () => {
    await source.drop()
    await rm(directory, { recursive: true })
  })

  async function write(database: Database, from: number, count: number): Promise<void> {
    const events = Array.from({ length: count }, (_, n) => ({
      ...{
        id: `evt_${from + n}`,
        account: "acc_1",
        aggregateId: `exe_${n % 7}`,
        type: "t",
        subject: "s",
        subjectVersion: n,
      },
      ...{ cause: "req_1", causedBy: "req_1", depth: 0, principal: "prn_1", data: { odd, number: 1.25 } },
    }))
    await database.transaction((tx) => appendEvents(tx, events))
    await settleOutbox(database)
  }

  async function readFrames(file: string): Promise<string> {
    const hash = createHash("sha256")
    for await (const frame of readBackupFile(file)) {
      hash.update(frame.kind).update(frame.kind === "data" ? frame.bytes : JSON.stringify(frame.fields))
    }
    return hash.digest("hex")
  }

  async function intoEmpty(work: (connection: Connection) => Promise<void>): Promise<void> {
    const empty = await createEmptyDatabase()
    try {
      await work(empty.connection)
    } finally {
      await empty.drop()
    }
  }

  async function allEvents(database: Database): Promise<string[]> {
    const first = await readEvents(database, { limit: 1000 })
    const second = await readEvents(database, { limit: 1000, after: first.cursor })
    return [...first.events, ...second.events].map((event) => JSON.stringify(event))
  }

  async function expectSame(connection: Connection): Promise<void> {
    const database = await openDatabase({ connection, connectionsMax: 2 })
    try {
      expect(await allEvents(database)).toEqual(await allEvents(source.database))
      expect(await database.query("select * from idempotency")).toEqual(
        await source.database.query("select * from idempotency"),
      )
      expect(await database.query("select id from server")).toEqual([])
      const jobs = "select key, payload from graphile_worker._private_jobs"
      expect(await database.query(jobs)).toEqual([{ key: "mail:evt_7", payload: { id: "evt_7" } }])
      // A consumer goes on exactly where it was, although transaction ids begin anew in another cluster.
      await write(database, 5000, 2)
      const [row] = await database.query<{ cursor: string }>("select cursor from consumer where name = 'mail'")
      const later = await readEvents(database, { limit: 1000, after: row?.cursor })
      expect(later.events.map(({ id }) => id)).toEqual(["evt_1000", "evt_5000", "evt_5001"])
    } finally {
      await database.close()
    }
  }

  it("leaves out a blob that a server's collection removes meanwhile", async () => {
    const store = await openDirectoryBlobStore({ directory: join(directory, "collected"), bytesMax: 1000 })
    const { digest } = await store.put(Buffer.from("kept"))
    const gone = { digest: "0".repeat(64), bytes: 5 }
    const blobs = {
      open: (wanted: string) => store.open(wanted),
      async *list() {
        yield gone
        yield* store.list()
      },
    }
    const to = join(directory, "collected backup")
    const summary = await backupDatabase({ connection: source.connection, path: to, programVersion: "1.0.0", blobs })
    expect(summary.blobs).toBe(1)
    expect(await store.has(digest)).toBe(true)
  })

  it("restores everything, blobs and unfinished events too, and goes on where it was", () =>
    intoEmpty(async (connection) => {
      const blobs = await openDirectoryBlobStore({ directory: join(directory, "restored"), bytesMax: 10_000_000 })
      const summary = await restoreDatabase({ ...program, connection, path, blobs })
      expect(summary.tables).toContainEqual({ name: "outbox", rows: 1001 })
      await expectSame(connection)
      const digest = createHash("sha256").update(Buffer.alloc(300_000, "blob")).digest("hex")
      expect(await buffer(await blobs.open(digest))).toEqual(Buffer.alloc(300_000, "blob"))
      expect((await stat(path)).mode & 0o077).toBe(0)
    }))

  it("takes along what agents and people know the server by, and never overwrites another installation's", () =>
    intoEmpty(async (connection) => {
      const [from, into, other] = ["from", "into", "other"].map((name) => join(directory, name)) as [
        string,
        string,
        string,
      ]
      await mkdir(join(from, "tls"), { recursive: true })
      await writeFile(join(from, "tls", "authority.pem"), "the authority")
      await writeFile(join(from, "admin.json"), "{}")
      await writeFile(join(from, "other.txt"), "is not ours")
      const file = join(directory, "with files")
      const blobs = readDirectoryBlobs(join(from, "blobs"))
      const { connection: of } = source
      const summary = await backupDatabase({
        connection: of,
        path: file,
        programVersion: "1.0.0",
        blobs,
        dataDirectory: from,
      })
      expect(summary).toMatchObject({ blobs: 0, files: ["admin.json", "tls/authority.pem"] })
      await mkdir(join(other, "tls"), { recursive: true })
      await writeFile(join(other, "tls", "authority.pem"), "another authority")
      const restore = { ...program, connection, path: file }
      await expect(restoreDatabase({ ...restore, dataDirectory: other })).rejects.toMatchObject({
        code: "storage.file-differs",
      })
      await restoreDatabase({ ...restore, dataDirectory: into })
      expect(await readFile(join(into, "tls", "authority.pem"), "utf8")).toBe("the authority")
      expect((await stat(join(into, "tls", "authority.pem"))).mode & 0o077).toBe(0)
      expect((await readdir(into)).toSorted()).toEqual(["admin.json", "tls"])
    }))

  it("moves everything into another database", () =>
    intoEmpty(async (connection) => {
      await moveDatabase({ ...program, from: source.connection, to: connection })
      await expectSame(connection)
    }))

  it("refuses to move a database that a server still uses", async () => {
    await source.database.query("insert into server (id, leased_until) values ('srv_2', now() + interval '1 hour')")
    await intoEmpty(async (to) => {
      const early = moveDatabase({ ...program, from: source.connection, to })
      await expect(early).rejects.toMatchObject({ code: "storage.servers-running" })
    })
    await source.database.query("delete from server where id = 'srv_2'")
  })

  it("takes one state while others write", () =>
    intoEmpty(async (connection) => {
      const other = await createTestDatabase(components)
      const file = join(directory, "moving")
      let writing = true
      let written = 0
      const writer = (async () => {
        // Two rows that belong together, in two tables.
        for (; writing; written++) {
          await other.database.transaction(async (tx) => {
            await tx.query("insert into idempotency (id, account, operation, body_hash) values ($1, 'a', 'o', 'h')", [
              `i${written}`,
            ])
            await tx.query("insert into consumer (name) values ($1)", [`c${written}`])
          })
        }
      })()
      await backupDatabase({ connection: other.connection, path: file, programVersion: "1.0.0" })
      writing = false
      await writer
      const { tables } = await restoreDatabase({ ...program, connection, path: file })
      const rows = (name: string): number | undefined => tables.find((table) => table.name === name)?.rows
      expect(rows("idempotency")).toBe(rows("consumer"))
      await other.drop()
    }))

  it("refuses a file that was cut short or altered so that it says something else, before anything is written", () =>
    intoEmpty(async (connection) => {
      const good = await readFile(path)
      const damaged = join(directory, "damaged")
      const attempt = async (bytes: Uint8Array): Promise<void> => {
        await writeFile(damaged, bytes)
        await expect(restoreDatabase({ ...program, connection, path: damaged })).rejects.toMatchObject({
          code: "storage.backup-unreadable",
        })
      }
      // The compressor may end with an empty frame of nine bytes: without them nothing is missing.
      for (const part of [0, 5, 19, 100, good.length / 2, good.length - 10]) await attempt(good.subarray(0, part))
      const content = await readFrames(path)
      let altered = 0
      for (let n = 1; n < 30; n++) {
        const flipped = Buffer.from(good)
        const place = Math.floor((good.length * n) / 30)
        flipped[place] = (flipped[place] ?? 0) ^ (1 << (n % 8))
        // The compressor's format has bits without a meaning: what they were is no part of the backup.
        await writeFile(damaged, flipped)
        if ((await readFrames(damaged).catch(() => "refused")) === content) continue
        altered++
        await attempt(flipped)
      }
      expect(altered).toBeGreaterThan(20)
      await expect(restoreDatabase({ ...program, connection, path: join(directory, "missing") })).rejects.toMatchObject(
        {
          code: "storage.backup-unreadable",
        },
      )
      const database = await openDatabase({ connection, connectionsMax: 1 })
      expect(await database.query("select 1 from pg_namespace where nspname = 'signalbox'")).toEqual([])
      await database.close()
    }))

  it("refuses a target that holds something, and a program that does not know the data", async () => {
    const { connection } = source
    await expect(restoreDatabase({ ...program, connection, path })).rejects.toMatchObject({
      code: "storage.target-not-empty",
    })
    await intoEmpty(async (to) => {
      const older = moveDatabase({ ...program, components: [], from: connection, to })
      await expect(older).rejects.toMatchObject({ code: "storage.program-too-old" })
      // What failed left the target empty, so the next attempt can succeed.
      await moveDatabase({ ...program, from: connection, to })
    })
  })
})
