import { createHash, randomBytes } from "node:crypto"
import { inject } from "vitest"
import { components as allComponents } from "@signalbox/server/storage/components"
import { connectDirect, openDatabase, type Connection, type Database } from "@signalbox/server/storage/database"
import { sqlOf } from "@signalbox/server/storage/statements"
import { migrate, readMigrations } from "@signalbox/server/storage/migrator"
import "./shared-postgres.ts"

export interface TestDatabase {
  readonly connection: Connection
  readonly database: Database
  /** Closes and drops it; to be called in `afterAll`. */
  drop(): Promise<void>
}

/**
 * A database of its own for a test file, cloned from a migrated template. The template is named by the content of the
 * migrations, so it is made once a run and again when one of them changes.
 *
 * @example
 * const test = await createTestDatabase()
 * afterAll(() => test.drop())
 */
export async function createTestDatabase(components: readonly string[] = allComponents): Promise<TestDatabase> {
  const template = await ensureTemplate(components)
  const name = `test_${randomBytes(6).toString("hex")}`
  await administer((run) => run(`create database ${name} template ${template}`))
  const connection = sharedConnection(name)
  const database = await openDatabase({ connection, connectionsMax: 10 })
  return {
    connection,
    database,
    async drop() {
      await database.close()
      await administer((run) => run(`drop database if exists ${name} with (force)`))
    },
  }
}

/** An empty database without any migration, for tests of migrations, backups and moves. */
export async function createEmptyDatabase(): Promise<{ connection: Connection; drop(): Promise<void> }> {
  const name = `test_${randomBytes(6).toString("hex")}`
  await administer((run) => run(`create database ${name} template template0`))
  return {
    connection: sharedConnection(name),
    drop: () => administer((run) => run(`drop database if exists ${name} with (force)`)),
  }
}

function sharedConnection(database: string): Connection {
  return { ...(inject("sharedPostgres") as object), database }
}

async function ensureTemplate(components: readonly string[]): Promise<string> {
  const migrations = await readMigrations(components)
  const digest = createHash("sha256").update(JSON.stringify(migrations)).digest("hex")
  const name = `template_${digest.slice(0, 16)}`
  await administer(async (run) => {
    // The lock makes one test file build the template while the others wait for it.
    await run(`select pg_advisory_lock(hashtextextended('${name}', 0))`)
    const found = await run(`select 1 from pg_database where datname = '${name}' and datistemplate`)
    if (found.length > 0) return
    await run(`drop database if exists ${name} with (force)`)
    await run(`create database ${name} template template0`)
    await migrate({ connection: sharedConnection(name), components, programVersion: "999.0.0" })
    await run(`alter database ${name} with is_template true allow_connections false`)
  })
  return name
}

async function administer(work: (run: (text: string) => Promise<object[]>) => Promise<unknown>): Promise<void> {
  const client = await connectDirect(sharedConnection("postgres"))
  const sql = sqlOf(client)
  try {
    await work((text) => sql.query(text))
  } finally {
    await client.end()
  }
}
