import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { createEmptyDatabase } from "@signalbox/testkit/test-database"
import { connectDirect, type Connection } from "./database.ts"
import { components } from "./components.ts"
import { compareVersions, migrate, readLedger, readMigrations } from "./migrator.ts"
import { sqlOf } from "./statements.ts"

describe("migrations", () => {
  let directory: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "signalbox migrations "))
  })
  afterAll(() => rm(directory, { recursive: true }))

  async function write(component: string, files: Record<string, string>): Promise<void> {
    await mkdir(join(directory, component), { recursive: true })
    for (const [name, text] of Object.entries(files)) await writeFile(join(directory, component, name), text)
  }

  async function withEmpty(work: (connection: Connection) => Promise<void>): Promise<void> {
    const empty = await createEmptyDatabase()
    try {
      await work(empty.connection)
    } finally {
      await empty.drop()
    }
  }

  async function query(connection: Connection, text: string): Promise<object[]> {
    const client = await connectDirect(connection)
    try {
      return await sqlOf(client).query(text)
    } finally {
      await client.end()
    }
  }

  it("apply all of the server's from empty, and nothing when they run again", () =>
    withEmpty(async (connection) => {
      const options = { connection, components, programVersion: "1.0.0" }
      const applied = await migrate(options)
      expect(applied.length).toBe((await readMigrations(components)).length)
      expect(await migrate(options)).toEqual([])
    }))

  it("run once under 20 concurrent migrators", () =>
    withEmpty(async (connection) => {
      await write("race", {
        "0001_a.sql": "create table a (id text primary key);",
        "0002_b.sql": "insert into a values ('1');",
      })
      const runs = Array.from({ length: 20 }, () =>
        migrate({ connection, components: ["race"], programVersion: "1.0.0", directory }),
      )
      const counts = (await Promise.all(runs)).map((applied) => applied.length)
      expect(counts.reduce((sum, count) => sum + count)).toBe(2)
    }))

  it("leave nothing of a migration that fails, and keep those before it", () =>
    withEmpty(async (connection) => {
      await write("half", {
        "0001_a.sql": "create table a (id int);",
        "0002_b.sql": "create table b (id int); select 1/0;",
      })
      const options = { connection, components: ["half"], programVersion: "1.0.0", directory }
      await expect(migrate(options)).rejects.toThrow("division by zero")
      expect(await query(connection, "select to_regclass('a')::text as a, to_regclass('b')::text as b")).toEqual([
        { a: "a", b: null },
      ])
      await write("half", { "0002_b.sql": "create table b (id int);" })
      expect((await migrate(options)).map(({ name }) => name)).toEqual(["0002_b"])
    }))

  it("refuse a migration that ran with other content", () =>
    withEmpty(async (connection) => {
      const options = { connection, components: ["changed"], programVersion: "1.0.0", directory }
      await write("changed", { "0001_a.sql": "select 1;" })
      await migrate(options)
      await write("changed", { "0001_a.sql": "select 2;" })
      await expect(migrate(options)).rejects.toMatchObject({ code: "storage.migration-changed" })
    }))

  it("refuse a program older than a migration that ran allows, even if it does not know that migration", () =>
    withEmpty(async (connection) => {
      await write("newer", { "0001_a.sql": "--! oldest-program: 2.1.0\nselect 1;" })
      await migrate({ connection, components: ["newer"], programVersion: "2.1.0", directory })
      const older = migrate({ connection, components: [], programVersion: "2.0.9", directory })
      await expect(older).rejects.toMatchObject({ code: "storage.program-too-old" })
    }))

  it("stop at the given levels", () =>
    withEmpty(async (connection) => {
      await write("levels", { "0001_a.sql": "select 1;", "0002_b.sql": "select 2;" })
      const options = { connection, components: ["levels"], programVersion: "1.0.0", directory }
      expect(await migrate({ ...options, levels: new Map() })).toEqual([])
      await migrate({ ...options, levels: new Map([["levels", 1]]) })
      const client = await connectDirect(connection)
      expect((await readLedger(sqlOf(client))).map(({ name }) => name)).toEqual(["0001_a"])
      await client.end()
    }))

  it("are numbered without a gap", async () => {
    await write("gap", { "0001_a.sql": "", "0003_c.sql": "" })
    await expect(readMigrations(["gap"], directory)).rejects.toThrow("without a gap")
  })

  it("compare versions by number", () => {
    expect(compareVersions("0.10.0", "0.9.9")).toBeGreaterThan(0)
    expect(compareVersions("1.0.0-beta", "1.0.0")).toBe(0)
  })
})
