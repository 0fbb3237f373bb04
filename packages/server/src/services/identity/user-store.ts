import type { RoleName } from "@signalbox/contracts/identity/roles"
import type { Sql, Tx } from "../../storage/database.ts"

export interface UserRow {
  readonly id: string
  readonly name: string
  readonly displayName: string
  readonly email: string | null
  readonly roles: RoleName[]
  readonly teams: string[]
  readonly claimedRoles: RoleName[]
  readonly claimedTeams: string[]
  readonly provider: string | null
  readonly issuer: string | null
  readonly subject: string | null
  readonly passwordHash: string | null
  readonly codeHash: string | null
  readonly codeExpiresAt: number | null
  readonly disabledAt: number | null
  readonly lastLoginAt: number | null
  readonly version: number
  readonly createdAt: number
  readonly createdBy: string
}

const columns = `id, name, display_name as "displayName", email, roles, teams, claimed_roles as "claimedRoles",
  claimed_teams as "claimedTeams", provider, issuer, subject, password_hash as "passwordHash", code_hash as "codeHash",
  code_expires_at as "codeExpiresAt", disabled_at as "disabledAt", last_login_at as "lastLoginAt", version,
  created_at as "createdAt", created_by as "createdBy"`

export interface NewUser {
  readonly account: string
  readonly id: string
  readonly name: string
  readonly displayName: string
  readonly email: string | null
  readonly roles: readonly string[]
  readonly teams: readonly string[]
  readonly provider: string | null
  readonly issuer?: string
  readonly subject?: string
  readonly codeHash?: string
  readonly codeExpiresAt?: number
  readonly createdBy: string
}

/** Undefined where the name is taken. */
export async function insertUser(tx: Tx, user: NewUser): Promise<UserRow | undefined> {
  const [row] = await tx.query<UserRow>(
    `insert into users (account, id, name, display_name, email, roles, teams, provider, issuer, subject, code_hash,
       code_expires_at, created_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, to_timestamp($12::float8 / 1000), $13)
     on conflict (account, name) do nothing returning ${columns}`,
    [
      user.account,
      user.id,
      user.name,
      user.displayName,
      user.email,
      user.roles,
      user.teams,
      user.provider,
      user.issuer ?? null,
      user.subject ?? null,
      user.codeHash ?? null,
      user.codeExpiresAt ?? null,
      user.createdBy,
    ],
  )
  return row
}

export async function countUsers(tx: Tx, account: string): Promise<number> {
  const [row] = await tx.query<{ count: number }>("select count(*) as count from users where account = $1", [account])
  return row?.count ?? 0
}

export async function listUsers(sql: Sql, account: string, page: { after: string; limit: number }): Promise<UserRow[]> {
  return sql.query<UserRow>(`select ${columns} from users where account = $1 and id > $2 order by id limit $3`, [
    account,
    page.after,
    page.limit,
  ])
}

export async function readUsers(sql: Sql, account: string): Promise<UserRow[]> {
  return sql.query<UserRow>(`select ${columns} from users where account = $1`, [account])
}

export async function readUsersOfProvider(sql: Sql, account: string, provider: string): Promise<UserRow[]> {
  return sql.query<UserRow>(`select ${columns} from users where account = $1 and provider = $2`, [account, provider])
}

/** By id or by name. */
export async function findUser(sql: Sql, account: string, reference: string): Promise<UserRow | undefined> {
  const [row] = await sql.query<UserRow>(`select ${columns} from users where account = $1 and (id = $2 or name = $2)`, [
    account,
    reference,
  ])
  return row
}

/** As `findUser`, locked until the transaction ends. */
export async function lockUser(tx: Tx, account: string, reference: string): Promise<UserRow | undefined> {
  const [row] = await tx.query<UserRow>(
    `select ${columns} from users where account = $1 and (id = $2 or name = $2) for update`,
    [account, reference],
  )
  return row
}

/** Whom a provider means: bound by an earlier login, else waiting for their first one with this e-mail address. */
export async function findUsersOfIdentity(
  sql: Sql,
  account: string,
  identity: { provider: string; issuer: string; subject: string; email: string | null },
): Promise<UserRow[]> {
  return sql.query<UserRow>(
    `select ${columns} from users where account = $1 and ((issuer = $3 and subject = $4)
       or (provider = $2 and subject is null and lower(email) = lower($5)))
     order by subject nulls last, id`,
    [account, identity.provider, identity.issuer, identity.subject, identity.email],
  )
}

type UserChange = Partial<
  Pick<
    UserRow,
    | "displayName"
    | "email"
    | "roles"
    | "teams"
    | "claimedRoles"
    | "claimedTeams"
    | "issuer"
    | "subject"
    | "passwordHash"
    | "codeHash"
    | "codeExpiresAt"
    | "disabledAt"
    | "lastLoginAt"
  >
>

/** Writes the whole row anew: the caller holds its lock. */
export async function updateUser(
  tx: Tx,
  account: string,
  { row, change }: { readonly row: UserRow; readonly change: UserChange },
): Promise<UserRow> {
  const next = { ...row, ...change }
  const [updated] = await tx.query<UserRow>(
    `update users set display_name = $3, email = $4, roles = $5, teams = $6, claimed_roles = $7, claimed_teams = $8,
       issuer = $9, subject = $10, password_hash = $11, code_hash = $12,
       code_expires_at = to_timestamp($13::float8 / 1000), disabled_at = to_timestamp($14::float8 / 1000),
       last_login_at = to_timestamp($15::float8 / 1000), version = version + 1
     where account = $1 and id = $2 returning ${columns}`,
    [
      account,
      row.id,
      next.displayName,
      next.email,
      next.roles,
      next.teams,
      next.claimedRoles,
      next.claimedTeams,
      next.issuer,
      next.subject,
      next.passwordHash,
      next.codeHash,
      next.codeExpiresAt,
      next.disabledAt,
      next.lastLoginAt,
    ],
  )
  return updated as UserRow
}
