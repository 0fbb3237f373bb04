import type { Sql, Tx } from "../../storage/database.ts"

/** A login by a provider that has begun; whoever ends it takes the row away. */
export interface ProviderLoginRow {
  readonly provider: string
  readonly issuer: string
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
  readonly redirectUri: string
}

export async function insertProviderLogin(
  tx: Tx,
  login: ProviderLoginRow & { readonly account: string; readonly attemptHash: string; readonly expiresAt: number },
): Promise<void> {
  await tx.query(
    `insert into provider_logins (attempt_hash, account, provider, issuer, state, nonce, code_verifier, redirect_uri, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, to_timestamp($9::float8 / 1000))`,
    [
      login.attemptHash,
      login.account,
      login.provider,
      login.issuer,
      login.state,
      login.nonce,
      login.codeVerifier,
      login.redirectUri,
      login.expiresAt,
    ],
  )
}

/** Takes a login that has begun, so that it is completed once. */
export async function takeProviderLogin(
  sql: Sql,
  login: { readonly account: string; readonly attemptHash: string; readonly now: number },
): Promise<ProviderLoginRow | undefined> {
  const [row] = await sql.query<ProviderLoginRow>(
    `delete from provider_logins where attempt_hash = $1 and account = $2 and expires_at > to_timestamp($3::float8 / 1000)
     returning provider, issuer, state, nonce, code_verifier as "codeVerifier", redirect_uri as "redirectUri"`,
    [login.attemptHash, login.account, login.now],
  )
  return row
}

export async function removeOldProviderLogins(sql: Sql, options: { before: number; limit: number }): Promise<number> {
  const rows = await sql.query(
    `delete from provider_logins where attempt_hash in (
       select attempt_hash from provider_logins where expires_at < to_timestamp($1::float8 / 1000) limit $2) returning 1`,
    [options.before, options.limit],
  )
  return rows.length
}
