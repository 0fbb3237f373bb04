/** Tables in and out of a database by COPY, in an order and a form that give the same bytes on any PostgreSQL. */
import { createHash } from "node:crypto"
import { Transform, Writable, type Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import type pg from "pg"
import { from as copyFrom, to as copyTo } from "pg-copy-streams"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { schemaName, type Sql } from "./database.ts"
import { sqlOf } from "./statements.ts"

/** One thing that is copied: rows by a query, and the table (or temporary table) that takes them. */
export interface CopyPart {
  readonly name: string
  /** Gives the rows in an order that does not depend on the database's collation. */
  readonly query: string
  readonly target: string
}

export interface CopyDigest {
  readonly rows: number
  readonly sha256: string
}

/** Rows of running servers mean nothing elsewhere, and the ledger is written by the migrations themselves. */
const notCopied = ["migration", "server"]
/** Events handed to a consumer and not handled yet: the only jobs that have no other record. */
export const pendingJobs: CopyPart = {
  name: "#pending-jobs",
  query: `select t.identifier, j.payload::text, j.key, j.max_attempts from graphile_worker._private_jobs j
    join graphile_worker._private_tasks t on t.id = j.task_id
    where t.identifier like 'event:%' and j.key is not null and j.attempts < j.max_attempts order by j.key collate "C"`,
  target: "pending_job (identifier, payload, key, max_attempts)",
}

/** The tables of the schema, each after those that its foreign keys point to. */
export async function listCopyParts(sql: Sql): Promise<CopyPart[]> {
  const tables = await sql.query<{ name: string; columns: string[]; order: string[]; needs: string[] }>(
    `select c.relname as name,
       array(select quote_ident(attname) from pg_attribute
         where attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = '' order by attnum) as columns,
       array(select quote_ident(attname) || case when atttypid = 'text'::regtype then ' collate "C"' else '' end
         from pg_index, unnest(indkey::int2[]) with ordinality as k (number, place), pg_attribute
         where indrelid = c.oid and indisprimary and attrelid = c.oid and attnum = k.number order by place) as order,
       array(select distinct r.relname::text from pg_constraint f join pg_class r on r.oid = f.confrelid
         where f.conrelid = c.oid and f.contype = 'f' and r.oid <> c.oid) as needs
     from pg_class c where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = to_regnamespace($1)
       and c.relname <> all ($2) order by c.relname collate "C"`,
    [schemaName, notCopied],
  )
  const parts: CopyPart[] = []
  const done = new Set<string>()
  while (done.size < tables.length) {
    const ready = tables.filter(({ name, needs }) => !done.has(name) && needs.every((need) => done.has(need)))
    assert(ready.length > 0, "foreign keys go round in a circle, so no order of loading exists")
    for (const { name, columns, order } of ready) {
      const table = `${schemaName}.${name}`
      const list = columns.join(", ")
      parts.push({
        name,
        query: `select ${list} from ${table} order by ${order.join(", ")}`,
        target: `${table} (${list})`,
      })
      done.add(name)
    }
  }
  return parts
}

/** Settings that decide how values are written as text; for the transaction only. */
export async function fixTextForm(sql: Sql): Promise<void> {
  await sql.query(
    "set local extra_float_digits = 1; set local bytea_output = 'hex'; set local intervalstyle = 'postgres'",
  )
}

/** The rows of a part as text; `finish` gives their number and digest once all were read. */
export function readPart(client: pg.Client, part: CopyPart): { stream: Readable; finish(): CopyDigest } {
  const hash = createHash("sha256")
  const copy = client.query(copyTo(`copy (${part.query}) to stdout`))
  const stream = copy.pipe(hashing(hash))
  copy.on("error", (error) => stream.destroy(error))
  return { stream, finish: () => ({ rows: copy.rowCount, sha256: hash.digest("hex") }) }
}

export async function writePart(
  client: pg.Client,
  part: CopyPart,
  content: Readable | AsyncIterable<Uint8Array>,
): Promise<void> {
  await pipeline(content, client.query(copyFrom(`copy ${part.target} from stdin`)))
}

export async function digestPart(client: pg.Client, part: CopyPart): Promise<CopyDigest> {
  const { stream, finish } = readPart(client, part)
  await pipeline(stream, new Writable({ write: (_chunk, _encoding, done) => done() }))
  return finish()
}

/** @throws storage.backup-unreadable where a part does not hold what was written to it */
export async function checkPart(client: pg.Client, part: CopyPart, expected: CopyDigest): Promise<void> {
  const found = await digestPart(client, part)
  if (found.rows === expected.rows && found.sha256 === expected.sha256) return
  throw new AppError(
    "storage.backup-unreadable",
    `${part.name} holds ${found.rows} rows that differ from the ${expected.rows} that were copied`,
  )
}

export async function makePendingJobTable(sql: Sql): Promise<void> {
  await sql.query(
    "create temporary table pending_job (identifier text, payload json, key text, max_attempts int) on commit drop",
  )
}

/** Puts the copied jobs into the new queue. */
export async function queuePendingJobs(client: pg.Client): Promise<void> {
  await sqlOf(client).query(
    `select count(*) from graphile_worker.add_jobs(array(
       select row (identifier, payload, null, null, max_attempts, key, null, null)::graphile_worker.job_spec from pending_job))`,
  )
}

function hashing(hash: ReturnType<typeof createHash>): Transform {
  return new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
  })
}
