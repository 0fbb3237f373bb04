import type { Sql, Tx } from "../../storage/database.ts"
import type { SealedTexts } from "../../router/ports.ts"
import type { HookSpec } from "./hook-verification.ts"

/** The SQL of what hooks are reached and verified by, and of the messages that came. Instants are milliseconds. */
export interface HookKeys {
  readonly account: string
  readonly id: string
  readonly name: string
  readonly spec: HookSpec
  readonly tokenHash: string | null
  readonly previousTokenHash: string | null
  /** Sealed. */
  readonly secret: string | null
  readonly previousSecret: string | null
  readonly previousUntil: number | null
}

const columns = `account, id, name, spec, token_hash as "tokenHash", previous_token_hash as "previousTokenHash", secret,
  previous_secret as "previousSecret", previous_until as "previousUntil"`

export async function findHookKeys(sql: Sql, account: string, id: string): Promise<HookKeys | undefined> {
  const [row] = await sql.query<HookKeys>(
    `select ${columns} from hooks where account = $1 and id = $2`,
    [account, id],
    { name: "hooks-keys" },
  )
  return row
}

export function listPreviousUntil(
  sql: Sql,
  account: string,
  ids: readonly string[],
): Promise<Array<{ id: string; previousUntil: number }>> {
  return sql.query(
    `select id, previous_until as "previousUntil" from hooks
     where account = $1 and id = any ($2::text[]) and previous_until > now()`,
    [account, ids],
  )
}

/** What is left out stays; what takes the place of something keeps that until then. */
export async function setHookKeys(
  tx: Tx,
  hook: { readonly account: string; readonly id: string },
  keys: { readonly tokenHash?: string; readonly secret?: string; readonly previousUntil?: number },
): Promise<void> {
  await tx.query(
    `update hooks set
       previous_token_hash = case when $3::text is null then previous_token_hash else token_hash end,
       token_hash = coalesce($3, token_hash),
       previous_secret = case when $4::text is null then previous_secret else secret end,
       secret = coalesce($4, secret),
       previous_until = to_timestamp($5::float8 / 1000)
     where account = $1 and id = $2`,
    [hook.account, hook.id, keys.tokenHash ?? null, keys.secret ?? null, keys.previousUntil ?? null],
  )
}

/** True where the message has not come before. */
export async function claimMessage(
  tx: Tx,
  message: { hookId: string; message: string; account: string; event: string; now: number },
): Promise<{ readonly isNew: boolean; readonly event: string }> {
  const [row] = await tx.query<{ event: string }>(
    `insert into hook_messages (hook_id, message, account, event, received_at)
     values ($1, $2, $3, $4, to_timestamp($5::float8 / 1000)) on conflict (hook_id, message) do nothing returning event`,
    [message.hookId, message.message, message.account, message.event, message.now],
  )
  if (row) return { isNew: true, event: row.event }
  const [before] = await tx.query<{ event: string }>(
    "select event from hook_messages where hook_id = $1 and message = $2",
    [message.hookId, message.message],
  )
  return { isNew: false, event: before?.event ?? message.event }
}

export const hookSecretUse = "hook-secret"

/** What hooks are verified with. */
export const sealedHookSecrets: SealedTexts = {
  use: hookSecretUse,
  async list(sql, { after, limit, otherThan }) {
    const rows = await sql.query<{ key: string; account: string; id: string; text: string }>(
      `select key, account, id, text from (
         select id || ':present' as key, account, id, secret as text from hooks
         union all select id || ':previous', account, id, previous_secret from hooks) as texts
       where text is not null and not starts_with(text, $1) and key > $2 order by key limit $3`,
      [otherThan, after, limit],
    )
    return rows.map(({ key, account, id, text }) => ({ key, place: { account, id }, text }))
  },
  async replace(sql, { key, text: before }, text) {
    const [id, which] = key.split(":")
    const column = which === "previous" ? "previous_secret" : "secret"
    await sql.query(`update hooks set ${column} = $3 where id = $1 and ${column} = $2`, [id, before, text])
  },
}
