import type { CronTask } from "../../storage/background-queue.ts"
import type { Sql, Tx } from "../../storage/database.ts"
import { removalTask } from "../../storage/removal-task.ts"

/** The SQL of enrolment keys. Instants are milliseconds. */
export interface EnrollmentKeyRow {
  readonly account: string
  readonly id: string
  readonly name: string | null
  readonly secretHash: string
  readonly usesMax: number
  readonly usesCount: number
  readonly expiresAt: number
  readonly sourceRanges: readonly string[]
  readonly tags: Readonly<Record<string, string>>
  readonly tagsAllowed: readonly string[]
  readonly version: number
  readonly createdAt: number
  readonly createdBy: string
  readonly revokedAt: number | null
}

const columns = `account, id, name, secret_hash as "secretHash", uses_max as "usesMax", uses_count as "usesCount",
  expires_at as "expiresAt", source_ranges as "sourceRanges", tags, tags_allowed as "tagsAllowed", version,
  created_at as "createdAt", created_by as "createdBy", revoked_at as "revokedAt"`

export async function insertEnrollmentKey(
  tx: Tx,
  key: Omit<EnrollmentKeyRow, "usesCount" | "version" | "revokedAt">,
): Promise<void> {
  await tx.query(
    `insert into enrollment_keys (account, id, name, secret_hash, uses_max, expires_at, source_ranges, tags,
       tags_allowed, created_at, created_by)
     values ($1, $2, $3, $4, $5, to_timestamp($6 / 1000.0), $7, $8, $9, to_timestamp($10 / 1000.0), $11)`,
    [
      key.account,
      key.id,
      key.name,
      key.secretHash,
      key.usesMax,
      key.expiresAt,
      key.sourceRanges,
      JSON.stringify(key.tags),
      key.tagsAllowed,
      key.createdAt,
      key.createdBy,
    ],
  )
}

export async function findEnrollmentKey(sql: Sql, account: string, id: string): Promise<EnrollmentKeyRow | undefined> {
  const [row] = await sql.query<EnrollmentKeyRow>(
    `select ${columns} from enrollment_keys where account = $1 and id = $2`,
    [account, id],
    { name: "fleet-find-enrollment-key" },
  )
  return row
}

/** Locked until the transaction ends: uses of one key are counted one after the other, so the count is exact. */
export async function lockEnrollmentKey(tx: Tx, account: string, id: string): Promise<EnrollmentKeyRow | undefined> {
  const [row] = await tx.query<EnrollmentKeyRow>(
    `select ${columns} from enrollment_keys where account = $1 and id = $2 for update`,
    [account, id],
  )
  return row
}

export async function countEnrollmentUse(tx: Tx, account: string, id: string): Promise<void> {
  await tx.query("update enrollment_keys set uses_count = uses_count + 1 where account = $1 and id = $2", [account, id])
}

export async function revokeEnrollmentKey(
  tx: Tx,
  key: { account: string; id: string; now: number },
): Promise<EnrollmentKeyRow | undefined> {
  const [row] = await tx.query<EnrollmentKeyRow>(
    `update enrollment_keys set revoked_at = to_timestamp($3 / 1000.0), version = version + 1
     where account = $1 and id = $2 returning ${columns}`,
    [key.account, key.id, key.now],
  )
  return row
}

export function enrollmentKeysRetention(now: () => number): CronTask {
  return removalTask({
    name: "fleet.enrollment-keys-retention",
    cron: "53 * * * *",
    now,
    statement: `delete from enrollment_keys where (account, id) in (
      select account, id from enrollment_keys where expires_at < to_timestamp($1::float8 / 1000) limit $2) returning 1`,
  })
}

/** A page, the newest first. */
export async function listEnrollmentKeys(
  sql: Sql,
  account: string,
  page: { readonly beforeId?: string; readonly limit: number },
): Promise<EnrollmentKeyRow[]> {
  return sql.query<EnrollmentKeyRow>(
    `select ${columns} from enrollment_keys where account = $1 and ($2::text is null or id < $2)
     order by id desc limit $3`,
    [account, page.beforeId ?? null, page.limit],
  )
}
