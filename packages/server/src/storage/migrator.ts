/**
 * Plain, numbered, forward-only SQL migrations: `migrations/<component>/NNNN_name.sql`. Each runs in one transaction,
 * all under one advisory lock, and is kept with its SHA-256 in the table `migration`. A file may begin with
 * `--! oldest-program: X.Y.Z`: older programs then refuse to run on the database.
 */
import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { connectDirect, schemaName, type Connection, type Sql, type StorageLogger } from "./database.ts"
import { sqlOf } from "./statements.ts"

export interface Migration {
  readonly component: string
  readonly number: number
  readonly name: string
  readonly text: string
  readonly sha256: string
  readonly oldestProgram: string
}

/** A row of the ledger: a migration that ran. */
export interface AppliedMigration {
  readonly component: string
  readonly number: number
  readonly name: string
  readonly sha256: string
  readonly oldestProgram: string
}

export interface MigrateOptions {
  readonly connection: Connection
  /** In the order in which their migrations run. */
  readonly components: readonly string[]
  readonly programVersion: string
  /** Where the folders of the components are; the server's own by default. */
  readonly directory?: string
  /** Nothing beyond these (component -> highest number) is applied; used to restore a backup at its own level. */
  readonly levels?: ReadonlyMap<string, number>
  readonly logger?: StorageLogger
}

/** The same from `src/storage` and from `dist/storage`. */
export const migrationsDirectory = fileURLToPath(new URL("../../migrations", import.meta.url))

const lockKey = "signalbox migrations"
const lockTimeoutMilliseconds = 300_000
const noLimit = "0.0.0"

/** Brings a database to the newest level. @throws storage.migration-changed, storage.program-too-old, storage.unavailable */
export async function migrate(options: MigrateOptions): Promise<readonly Migration[]> {
  const wanted = await readMigrations(options.components, options.directory)
  const client = await connectDirect(options.connection)
  const sql = sqlOf(client)
  try {
    await sql.query(`set lock_timeout = ${lockTimeoutMilliseconds}`)
    await sql.query("select pg_advisory_lock(hashtextextended($1, 0))", [lockKey])
    await createLedger(sql)
    const applied = await readLedger(sql)
    checkLedger(wanted, applied, options.programVersion)
    const known = new Set(applied.map(keyOf))
    const due = wanted.filter(
      (migration) =>
        !known.has(keyOf(migration)) &&
        migration.number <= (options.levels ? (options.levels.get(migration.component) ?? 0) : Infinity),
    )
    for (const migration of due) {
      await apply(sql, migration, options.programVersion)
      options.logger?.info({ component: migration.component, migration: migration.name }, "migrated the database")
    }
    return due
  } finally {
    await client.end().catch(() => {})
  }
}

/** The migrations of these components, in order. */
export async function readMigrations(
  componentNames: readonly string[],
  directory = migrationsDirectory,
): Promise<Migration[]> {
  const lists = await Promise.all(componentNames.map((component) => readComponent(component, directory)))
  return lists.flat()
}

/** The migrations that ran on this database; none where it has no ledger. */
export async function readLedger(sql: Sql): Promise<AppliedMigration[]> {
  const [row] = await sql.query<{ present: boolean }>(
    `select to_regclass('${schemaName}.migration') is not null as present`,
  )
  if (!row?.present) return []
  return sql.query<AppliedMigration>(
    `select component, number, name, sha256, oldest_program as "oldestProgram" from ${schemaName}.migration order by applied_at, component, number`,
  )
}

async function readComponent(component: string, directory: string): Promise<Migration[]> {
  const folder = join(directory, component)
  // A component whose service has no tables yet has no folder.
  if (!existsSync(folder)) return []
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).toSorted()
  return Promise.all(
    names.map(async (name, index) => {
      assert(/^\d{4}_[a-z0-9-]+\.sql$/.test(name), `a migration is named NNNN_some-words.sql, not ${component}/${name}`)
      const number = Number(name.slice(0, 4))
      assert(
        number === index + 1,
        `the migrations of ${component} are numbered without a gap, and ${name} is number ${index + 1}`,
      )
      const text = await readFile(join(folder, name), "utf8")
      const sha256 = createHash("sha256").update(text).digest("hex")
      const oldestProgram = /^--! oldest-program: (\d+\.\d+\.\d+)$/m.exec(text)?.[1] ?? noLimit
      return { component, number, name: name.slice(0, -4), text, sha256, oldestProgram }
    }),
  )
}

const keyOf = ({ component, number }: { component: string; number: number }): string => `${component}/${number}`

async function createLedger(sql: Sql): Promise<void> {
  await sql.query(`create schema if not exists ${schemaName}`)
  await sql.query(
    `create table if not exists ${schemaName}.migration (
      component text not null, number int not null, name text not null, sha256 text not null,
      oldest_program text not null, program text not null, applied_at timestamptz not null default clock_timestamp(),
      primary key (component, number))`,
  )
  await sql.query(
    `comment on table ${schemaName}.migration is 'stand-alone: the ledger of migrations belongs to the installation'`,
  )
}

function checkLedger(wanted: readonly Migration[], applied: readonly AppliedMigration[], programVersion: string): void {
  const byKey = new Map(wanted.map((migration) => [keyOf(migration), migration]))
  for (const row of applied) {
    if (compareVersions(programVersion, row.oldestProgram) < 0) {
      throw new AppError(
        "storage.program-too-old",
        `the database needs Signalbox ${row.oldestProgram} or newer since ${row.component}/${row.name}, and this is ${programVersion}`,
      )
    }
    const migration = byKey.get(keyOf(row))
    if (migration && migration.sha256 !== row.sha256) {
      throw new AppError(
        "storage.migration-changed",
        `${row.component}/${row.name} ran with other content than it has now`,
      )
    }
  }
}

async function apply(sql: Sql, migration: Migration, programVersion: string): Promise<void> {
  const { component, number, name, sha256, oldestProgram } = migration
  await sql.query("begin")
  try {
    await sql.query(migration.text)
    await sql.query(
      `insert into ${schemaName}.migration (component, number, name, sha256, oldest_program, program) values ($1, $2, $3, $4, $5, $6)`,
      [component, number, name, sha256, oldestProgram, programVersion],
    )
    await sql.query("commit")
  } catch (error) {
    await sql.query("rollback").catch(() => {})
    throw error
  }
}

/** Negative where version `a` is older than `b`. Both are X.Y.Z; what follows a dash is not compared. */
export function compareVersions(a: string, b: string): number {
  const parts = (text: string): number[] => (text.split("-")[0] ?? "").split(".").map(Number)
  const [left, right] = [parts(a), parts(b)]
  for (const [index, part] of left.entries()) {
    if (part !== right[index]) return part - (right[index] ?? 0)
  }
  return 0
}
