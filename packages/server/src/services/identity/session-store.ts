import type { Sql, Tx } from "../../storage/database.ts"

export interface SessionRow {
  readonly id: string
  readonly userId: string
  readonly tokenHash: string
  readonly provider: string | null
  readonly logoutUrl: string | null
  readonly sourceAddress: string | null
  readonly createdAt: number
  readonly usedAt: number
  readonly expiresAt: number
  readonly revokedAt: number | null
  readonly directoryVersion: number
}

const columns = `id, user_id as "userId", token_hash as "tokenHash", provider, logout_url as "logoutUrl",
  source_address as "sourceAddress", created_at as "createdAt", used_at as "usedAt", expires_at as "expiresAt",
  revoked_at as "revokedAt", directory_version as "directoryVersion"`

export interface NewSession {
  readonly account: string
  readonly userId: string
  readonly id: string
  readonly tokenHash: string
  readonly provider: string | null
  readonly logoutUrl: string | null
  readonly sourceAddress: string | null
  readonly now: number
  readonly expiresAt: number
  readonly directoryVersion: number
}

export async function insertSession(tx: Tx, session: NewSession): Promise<void> {
  await tx.query(
    `insert into user_sessions (user_id, id, account, token_hash, provider, logout_url, source_address, created_at,
       used_at, expires_at, directory_version)
     values ($1, $2, $3, $4, $5, $6, $7, to_timestamp($8::float8 / 1000), to_timestamp($8::float8 / 1000),
       to_timestamp($9::float8 / 1000), $10)`,
    [
      session.userId,
      session.id,
      session.account,
      session.tokenHash,
      session.provider,
      session.logoutUrl,
      session.sourceAddress,
      session.now,
      session.expiresAt,
      session.directoryVersion,
    ],
  )
}

/** Sessions that changed since a version; from the beginning only those that still count. */
export async function readChangedSessions(
  sql: Sql,
  account: string,
  since: { readonly version: number; readonly now: number },
): Promise<SessionRow[]> {
  return sql.query<SessionRow>(
    `select ${columns} from user_sessions where account = $1 and directory_version > $2
       and expires_at > to_timestamp($3::float8 / 1000) and ($2 > 0 or revoked_at is null)`,
    [account, since.version, since.now],
    { name: "identity-changed-sessions" },
  )
}

/** Of a user, newest first, those that have neither ended nor expired and were used since. */
export async function listSessions(
  sql: Sql,
  of: { readonly account: string; readonly userId: string; readonly now: number; readonly usedSince: number },
  page: { readonly before: string; readonly limit: number },
): Promise<SessionRow[]> {
  return sql.query<SessionRow>(
    `select ${columns} from user_sessions where user_id = $1 and account = $2 and revoked_at is null
       and expires_at > to_timestamp($3::float8 / 1000) and used_at >= to_timestamp($4::float8 / 1000)
       and id < $5 order by id desc limit $6`,
    [of.userId, of.account, of.now, of.usedSince, page.before, page.limit],
  )
}

export async function findSession(sql: Sql, account: string, id: string): Promise<SessionRow | undefined> {
  const [row] = await sql.query<SessionRow>(`select ${columns} from user_sessions where account = $1 and id = $2`, [
    account,
    id,
  ])
  return row
}

/** Ends those of a user's sessions that still count; gives their ids. The caller holds the user's lock. */
export async function revokeSessions(
  tx: Tx,
  of: { readonly account: string; readonly userId: string; readonly ids?: readonly string[]; readonly except?: string },
  at: { readonly now: number; readonly directoryVersion: number },
): Promise<string[]> {
  const rows = await tx.query<{ id: string }>(
    `update user_sessions set revoked_at = to_timestamp($5::float8 / 1000), directory_version = $6
     where user_id = $1 and account = $2 and ($3::text[] is null or id = any($3)) and id is distinct from $4
       and revoked_at is null and expires_at > to_timestamp($5::float8 / 1000)
     returning id`,
    [of.userId, of.account, of.ids ?? null, of.except ?? null, at.now, at.directoryVersion],
  )
  return rows.map(({ id }) => id)
}

/** The sessions beyond so many that were used least recently. */
export async function findSurplusSessions(
  tx: Tx,
  of: { readonly account: string; readonly userId: string; readonly now: number; readonly keep: number },
): Promise<string[]> {
  const rows = await tx.query<{ id: string }>(
    `select id from user_sessions where user_id = $1 and account = $2 and revoked_at is null
       and expires_at > to_timestamp($3::float8 / 1000) order by used_at desc, id desc offset $4`,
    [of.userId, of.account, of.now, of.keep],
  )
  return rows.map(({ id }) => id)
}

export async function readUsedAt(sql: Sql, userId: string, id: string): Promise<number | undefined> {
  const [row] = await sql.query<{ usedAt: number }>(
    `select used_at as "usedAt" from user_sessions where user_id = $1 and id = $2`,
    [userId, id],
  )
  return row?.usedAt
}

export async function writeUsedAt(
  sql: Sql,
  uses: ReadonlyArray<{ readonly userId: string; readonly id: string; readonly usedAt: number }>,
): Promise<void> {
  await sql.query(
    `update user_sessions s set used_at = greatest(s.used_at, to_timestamp(u.used_at / 1000))
     from unnest($1::text[], $2::text[], $3::float8[]) as u (user_id, id, used_at)
     where s.user_id = u.user_id and s.id = u.id`,
    [uses.map(({ userId }) => userId), uses.map(({ id }) => id), uses.map(({ usedAt }) => usedAt)],
  )
}

/** Removes a bounded number of sessions that ended before an instant; gives how many. */
export async function removeOldSessions(sql: Sql, options: { before: number; limit: number }): Promise<number> {
  const rows = await sql.query(
    `delete from user_sessions where (user_id, id) in (
       select user_id, id from user_sessions where expires_at < to_timestamp($1::float8 / 1000) limit $2) returning 1`,
    [options.before, options.limit],
  )
  return rows.length
}
