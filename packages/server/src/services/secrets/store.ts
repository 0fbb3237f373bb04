import type { CronTask } from "../../storage/background-queue.ts"
import type { Sql, Tx } from "../../storage/database.ts"
import { removalTask } from "../../storage/removal-task.ts"

export interface SecretRow {
  readonly name: string
  readonly version: number
  readonly kind: string
  readonly reference: string | null
  readonly created_at: number
  readonly created_by: string
  readonly used_at: number | null
}

export interface SecretVersionRow {
  readonly name: string
  readonly version: number
  readonly kind: string
  readonly reference: string | null
  readonly wrapped_key: Buffer | null
  readonly sealed: Buffer | null
  /** Of the keys under which the value lies. */
  readonly generation: number
  /** Whether the last use on record is too long ago to stand for one now. */
  readonly isUseDue: boolean
}

/** Uses are on record to the minute, so that a rollout doesn't write a row for each node. */
const useDue = `s.used_at is null or s.used_at < now() - interval '1 minute'`
const current = `select s.name, s.version, v.kind, v.reference, v.created_at, v.created_by, s.used_at
  from secrets s join secret_versions v using (account, name, version)
  where s.account = $1 and not s.removed`

export async function findSecret(sql: Sql, account: string, name: string): Promise<SecretRow | undefined> {
  const [row] = await sql.query<SecretRow>(`${current} and s.name = $2`, [account, name])
  return row
}

export function listSecrets(sql: Sql, account: string, page: { after: string; limit: number }): Promise<SecretRow[]> {
  return sql.query<SecretRow>(`${current} and s.name > $2 order by s.name limit $3`, [account, page.after, page.limit])
}

export async function countSecrets(sql: Sql, account: string): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    "select count(*)::int as count from secrets where account = $1 and not removed",
    [account],
  )
  return row?.count ?? 0
}

/** Takes the secret's next version and keeps its row locked until the transaction ends. Also one removed before. */
export async function raiseVersion(tx: Tx, account: string, name: string): Promise<number> {
  const [row] = await tx.query<{ version: number }>(
    `insert into secrets (account, name, version) values ($1, $2, 1)
     on conflict (account, name) do update set version = secrets.version + 1, removed = false, removed_at = null
     returning version`,
    [account, name],
  )
  return (row as { version: number }).version
}

export async function insertVersion(
  tx: Tx,
  account: string,
  row: Omit<SecretVersionRow, "isUseDue"> & { readonly created_by: string },
): Promise<void> {
  await tx.query(
    `insert into secret_versions (account, name, version, kind, reference, wrapped_key, sealed, generation, created_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
    [
      account,
      ...[row.name, row.version, row.kind, row.reference, row.wrapped_key, row.sealed, row.generation, row.created_by],
    ],
  )
}

export async function removeOldVersions(
  tx: Tx,
  account: string,
  old: { readonly name: string; readonly versionsKept: number },
): Promise<void> {
  await tx.query(
    `delete from secret_versions where account = $1 and name = $2 and version not in (
       select version from secret_versions where account = $1 and name = $2 order by version desc limit $3)`,
    [account, old.name, old.versionsKept],
  )
}

/** Gives the version of the removal; undefined where there is no such secret. */
export async function removeSecret(tx: Tx, account: string, name: string): Promise<number | undefined> {
  const [row] = await tx.query<{ version: number }>(
    `update secrets set removed = true, removed_at = now(), version = version + 1, used_at = null
     where account = $1 and name = $2 and not removed returning version`,
    [account, name],
  )
  if (row) await tx.query("delete from secret_versions where account = $1 and name = $2", [account, name])
  return row?.version
}

/** The current versions of those names that there are. */
export function readCurrent(sql: Sql, account: string, names: readonly string[]): Promise<SecretVersionRow[]> {
  return sql.query<SecretVersionRow>(
    `select v.name, v.version, v.kind, v.reference, v.wrapped_key, v.sealed, v.generation, ${useDue} as "isUseDue"
     from secrets s join secret_versions v using (account, name, version)
     where s.account = $1 and s.name = any($2) and not s.removed`,
    [account, names],
    { name: "secrets-read-current" },
  )
}

/** Those of the given versions that are kept still. */
export function readVersions(
  sql: Sql,
  account: string,
  places: ReadonlyArray<{ readonly name: string; readonly version: number }>,
): Promise<SecretVersionRow[]> {
  return sql.query<SecretVersionRow>(
    `select v.name, v.version, v.kind, v.reference, v.wrapped_key, v.sealed, v.generation, ${useDue} as "isUseDue"
     from unnest($2::text[], $3::bigint[]) as p (name, version)
     join secret_versions v on v.account = $1 and v.name = p.name and v.version = p.version
     left join secrets s on s.account = v.account and s.name = v.name`,
    [account, places.map(({ name }) => name), places.map(({ version }) => version)],
    { name: "secrets-read-versions" },
  )
}

/** Notes a use where that is due; another server may have done so meanwhile. */
export async function noteUse(sql: Sql, account: string, names: readonly string[]): Promise<void> {
  await sql.query(`update secrets s set used_at = now() where account = $1 and name = any($2) and (${useDue})`, [
    account,
    names,
  ])
}

/** Names of secrets that were removed: a new one of that name goes on in its versions, while plans may name them. */
export function namesRetention(now: () => number): CronTask {
  return removalTask({
    name: "secrets.names-retention",
    cron: "59 * * * *",
    now,
    statement: `delete from secrets s where s.removed and (s.account, s.name) in (
      select account, name from secrets where removed_at < to_timestamp($1::float8 / 1000) limit $2) returning 1`,
  })
}

export interface OlderVersion {
  readonly account: string
  readonly name: string
  readonly version: number
  readonly wrapped_key: Buffer
  readonly generation: number
}

/** Values that lie under other generations than this one, in the order of their keys. */
export function listOlderVersions(
  sql: Sql,
  page: {
    readonly after: Pick<OlderVersion, "account" | "name" | "version">
    readonly generation: number
    readonly limit: number
  },
): Promise<OlderVersion[]> {
  const { account, name, version } = page.after
  return sql.query<OlderVersion>(
    `select account, name, version, wrapped_key, generation from secret_versions
     where sealed is not null and generation <> $1 and (account, name, version) > ($2, $3, $4)
     order by account, name, version limit $5`,
    [page.generation, account, name, version, page.limit],
  )
}

export async function replaceWrappedKey(
  sql: Sql,
  row: OlderVersion,
  by: { readonly wrapped: Buffer; readonly generation: number },
): Promise<void> {
  await sql.query(
    `update secret_versions set wrapped_key = $5, generation = $6
     where account = $1 and name = $2 and version = $3 and wrapped_key = $4`,
    [row.account, row.name, row.version, row.wrapped_key, by.wrapped, by.generation],
  )
}
