/** The SQL of the installation's keys and of their rotation. Instants are milliseconds. */
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"
import type { Rotation } from "./rotation-model.ts"

export interface MasterKeyRow {
  readonly fingerprint: string
  readonly generation: number
  readonly rotation: Rotation | null
  readonly rotatedAt: number | null
}

export interface KeySlot {
  readonly fingerprint: string
  readonly generation: number
  readonly wrappedKey: Buffer
}

export interface KeyUser {
  readonly serverId: string
  readonly fingerprint: string
  readonly generation: number
}

const columns = `fingerprint, generation, rotation, rotated_at as "rotatedAt"`

export async function findMasterKey(sql: Sql): Promise<MasterKeyRow | undefined> {
  const [row] = await sql.query<MasterKeyRow>(`select ${columns} from secret_master_key`)
  return row
}

/** Records the key's fingerprint where none is on record; true where it is the first. */
export async function claimFingerprint(tx: Tx, fingerprint: string): Promise<boolean> {
  const rows = await tx.query(
    "insert into secret_master_key (fingerprint) values ($1) on conflict do nothing returning 1",
    [fingerprint],
  )
  return rows.length > 0
}

/** One at a time changes keys or takes them up. */
export async function lockMasterKey(tx: Tx): Promise<MasterKeyRow> {
  const [row] = await tx.query<MasterKeyRow>(`select ${columns} from secret_master_key for update`)
  assert(row, "the fingerprint of a master key is on record once a server has started")
  return row
}

export async function updateMasterKey(tx: Tx, row: Omit<MasterKeyRow, "rotatedAt">): Promise<void> {
  await tx.query("update secret_master_key set fingerprint = $1, generation = $2, rotation = $3", [
    row.fingerprint,
    row.generation,
    row.rotation === null ? null : JSON.stringify(row.rotation),
  ])
}

export async function noteRotated(tx: Tx, at: number): Promise<void> {
  await tx.query("update secret_master_key set rotated_at = to_timestamp($1::float8 / 1000)", [at])
}

export function listSlots(sql: Sql): Promise<KeySlot[]> {
  return sql.query<KeySlot>(
    `select fingerprint, generation, wrapped_key as "wrappedKey" from secret_key_slots order by generation`,
  )
}

export async function insertSlots(tx: Tx, slots: readonly KeySlot[]): Promise<void> {
  for (const { fingerprint, generation, wrappedKey } of slots)
    await tx.query("insert into secret_key_slots (fingerprint, generation, wrapped_key) values ($1, $2, $3)", [
      fingerprint,
      generation,
      wrappedKey,
    ])
}

/** Leaves the slots of one master key, and of them those generations. */
export async function removeOtherSlots(
  tx: Tx,
  kept: { readonly fingerprint: string; readonly generations: readonly number[] },
): Promise<void> {
  await tx.query("delete from secret_key_slots where fingerprint <> $1 or generation <> all ($2::int[])", [
    kept.fingerprint,
    kept.generations,
  ])
}

export async function noteUser(sql: Sql, user: KeyUser): Promise<void> {
  await sql.query(
    `insert into secret_key_users (server_id, fingerprint, generation) values ($1, $2, $3)
     on conflict (server_id) do update set fingerprint = excluded.fingerprint, generation = excluded.generation, seen_at = now()`,
    [user.serverId, user.fingerprint, user.generation],
  )
}

/** Every start of a server is a user of its own: those of processes that are long gone go. */
export async function removeGoneUsers(tx: Tx): Promise<void> {
  await tx.query(
    `delete from secret_key_users u where u.seen_at < now() - interval '1 day'
       and not exists (select 1 from server s where s.id = u.server_id and s.leased_until >= clock_timestamp())`,
  )
}

export function listUsers(sql: Sql): Promise<KeyUser[]> {
  return sql.query<KeyUser>(
    `select server_id as "serverId", fingerprint, generation from secret_key_users order by server_id`,
  )
}

export async function removeUsersExcept(tx: Tx, serverIds: readonly string[]): Promise<void> {
  await tx.query("delete from secret_key_users where server_id <> all ($1::text[])", [serverIds])
}
