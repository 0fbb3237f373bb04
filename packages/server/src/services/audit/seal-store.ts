import { chainStart, type ChainLink, type ChainRecord, type Checkpoint } from "../../storage/audit-chain.ts"
import { chainRecordColumns, toChainRecord, type ChainHead } from "../../storage/audit-pages.ts"
import type { Sql } from "../../storage/database.ts"
import type { SignedEnvelope } from "@signalbox/contracts/approvals/signed-votes"

/** Older than every running transaction, so that no later commit can come before it (D8). */
const settled = "xid < outbox_position(pg_snapshot_xmin(pg_current_snapshot()))"

/** Accounts that have records after the head of their chain; walks from account to account, not over records. */
export async function findUnsealedAccounts(sql: Sql, limit: number): Promise<string[]> {
  const rows = await sql.query<{ account: string }>(
    `with recursive walk as (
       (select account from audit order by account limit 1)
       union all
       select (select account from audit where account > walk.account order by account limit 1)
       from walk where walk.account is not null)
     select walk.account from walk left join audit_chains c on c.account = walk.account
     where walk.account is not null and exists (
       select 1 from audit a where a.account = walk.account and a.${settled}
         and (a.xid, a.id collate "C") > (coalesce(c.xid, '0'), coalesce(c.id, '')))
     order by walk.account limit $1`,
    [limit],
    { name: "audit-find-unsealed" },
  )
  return rows.map(({ account }) => account)
}

/** The records after a place, in the order of sealing. */
export async function readUnsealed(
  sql: Sql,
  account: string,
  after: { head: ChainHead; limit: number },
): Promise<ChainRecord[]> {
  const rows = await sql.query<Parameters<typeof toChainRecord>[0]>(
    `select ${chainRecordColumns} from audit a
     where a.account = $1 and a.${settled} and (a.xid, a.id collate "C") > ($2::xid8, $3)
     order by a.xid, a.id collate "C" limit $4`,
    [account, after.head.xid, after.head.id, after.limit],
    { name: "audit-read-unsealed" },
  )
  return rows.map(toChainRecord)
}

export async function beginChain(sql: Sql, account: string): Promise<void> {
  await sql.query("insert into audit_chains (account, hash) values ($1, $2) on conflict do nothing", [
    account,
    chainStart.hash,
  ])
}

/**
 * Moves the head on and writes the seals in one statement, if the head is still where it was; false where another
 * sealer was first. So a chain neither forks nor has a gap, whoever dies and wherever.
 */
export async function writeSeals(
  sql: Sql,
  account: string,
  seals: { readonly before: ChainLink; readonly records: readonly ChainRecord[]; readonly links: readonly ChainLink[] },
): Promise<boolean> {
  const { before, records, links } = seals
  const last = links.at(-1)
  const lastRecord = records.at(-1)
  if (!last || !lastRecord) return false
  const written = await sql.query(
    `with head as (
       update audit_chains set number = $4, hash = $5, xid = $6::xid8, id = $7
       where account = $1 and number = $2 and hash = $3 returning account)
     insert into audit_seals (account, number, record_aggregate, record_id, hash)
     select head.account, s.number, s.aggregate, s.id, s.hash
     from head, unnest($8::bigint[], $9::text[], $10::text[], $11::text[]) as s (number, aggregate, id, hash)
     returning number`,
    [
      account,
      before.number,
      before.hash,
      last.number,
      last.hash,
      lastRecord.position,
      lastRecord.id,
      links.map(({ number }) => number),
      records.map(({ aggregate }) => aggregate),
      records.map(({ id }) => id),
      links.map(({ hash }) => hash),
    ],
    { name: "audit-write-seals" },
  )
  return written.length > 0
}

/** Chains whose head was not signed for this many records or this long. */
export function findUnsigned(
  sql: Sql,
  due: { readonly records: number; readonly seconds: number; readonly limit: number },
): Promise<Array<ChainLink & { readonly account: string }>> {
  return sql.query(
    `select c.account, c.number, c.hash from audit_chains c left join lateral (
       select number, signed_at from audit_checkpoints k where k.account = c.account order by number desc limit 1) k on true
     where c.number > coalesce(k.number, 0)
       and (k.number is null or c.number - k.number >= $1 or k.signed_at < now() - make_interval(secs => $2))
     order by c.account limit $3`,
    [due.records, due.seconds, due.limit],
  )
}

export async function writeCheckpoint(sql: Sql, checkpoint: Checkpoint, envelope: SignedEnvelope): Promise<void> {
  await sql.query(
    `insert into audit_checkpoints (account, number, envelope, signed_at) values ($1, $2, $3, $4)
     on conflict do nothing`,
    [checkpoint.account, checkpoint.number, JSON.stringify(envelope), checkpoint.time],
  )
}
