/** Stretches of an account's audit chain, read a page at a time: seals, their records, and records that have no seal. */
import { chainStart, type ChainItem, type ChainLink, type ChainRecord } from "./audit-chain.ts"
import type { Sql } from "./database.ts"

/** The columns of `audit` (named `a`) as a `ChainRecord`. */
export const chainRecordColumns = `a.id, a.aggregate_id as aggregate, a.account,
  to_char(a.time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as time, a.xid::text as position, a.principal,
  a.operation, a.subject, a.outcome, a.cause, a.caused_by as "causedBy", a.source_address as "sourceAddress",
  a.input_digest as "inputDigest"`

type RecordRow = { readonly [Member in keyof ChainRecord]-?: Exclude<ChainRecord[Member], undefined> | null }

/** Null members are left out: they are no part of what is sealed. */
export function toChainRecord(row: RecordRow): ChainRecord {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as unknown as ChainRecord
}

/** The place of a record in the order of sealing. */
export interface ChainPosition {
  readonly xid: string
  readonly id: string
}

export const firstPosition: ChainPosition = { xid: "0", id: "" }

export interface ChainHead extends ChainLink, ChainPosition {}

/** As far as the account's chain is sealed. */
export async function findChainHead(sql: Sql, account: string): Promise<ChainHead> {
  const [head] = await sql.query<ChainHead>(
    "select number, hash, xid::text, id from audit_chains where account = $1",
    [account],
    { name: "audit-find-head" },
  )
  return head ?? { ...chainStart, ...firstPosition }
}

/** The link with this number; undefined where there is none. Number 0 is before the first. */
export async function findChainLink(sql: Sql, account: string, number: number): Promise<ChainLink | undefined> {
  if (number === 0) return chainStart
  const [link] = await sql.query<ChainLink>("select number, hash from audit_seals where account = $1 and number = $2", [
    account,
    number,
  ])
  return link
}

export interface ChainPage {
  /** The chain's head when the page was read. */
  readonly head: ChainHead
  readonly items: readonly ChainItem[]
  /** Records that stand between the items of this page and were never sealed. */
  readonly unsealed: ReadonlyArray<{ readonly id: string; readonly position: string }>
  /** Where the page ends in the order of sealing. */
  readonly position: ChainPosition
}

/** The seals after a number, in their order. */
export async function readChainPage(
  sql: Sql,
  page: {
    readonly account: string
    readonly afterNumber: number
    /** Where the page before ended; left out, unsealed records before this page's first are not looked for. */
    readonly afterPosition?: ChainPosition | undefined
    readonly upToNumber: number
    readonly limit: number
  },
): Promise<ChainPage> {
  const { account, limit } = page
  // Before the seals: those that come meanwhile are of a later page.
  const head = await findChainHead(sql, account)
  const upToNumber = Math.min(page.upToNumber, head.number)
  const seals = await sql.query<{ number: number; hash: string; aggregate: string; id: string }>(
    `select number, hash, record_aggregate as aggregate, record_id as id from audit_seals
     where account = $1 and number > $2 and number <= $3 order by number limit $4`,
    [account, page.afterNumber, upToNumber, limit],
  )
  const rows = await sql.query<RecordRow>(
    `select ${chainRecordColumns} from audit a
     join unnest($2::text[], $3::text[]) as sealed (aggregate_id, id) on a.aggregate_id = sealed.aggregate_id and a.id = sealed.id
     where a.account = $1`,
    [account, seals.map((seal) => seal.aggregate), seals.map((seal) => seal.id)],
  )
  const records = new Map(rows.map((row) => [`${row.aggregate}\0${row.id}`, toChainRecord(row)]))
  const items = seals.map(({ number, hash, aggregate, id }): ChainItem => {
    return { number, hash, recordId: id, record: records.get(`${aggregate}\0${id}`) }
  })
  const known = items.flatMap(({ record }) => (record ? [{ xid: record.position, id: record.id }] : []))
  const from = page.afterPosition ?? known[0]
  const isLast = (seals.at(-1)?.number ?? page.afterNumber) >= head.number
  const to = isLast ? { xid: head.xid, id: head.id } : known.at(-1)
  const unsealed =
    from && to ? await findUnsealed(sql, { account, from, to, sealed: new Set(rows.map(({ id }) => id)) }) : []
  return { head, items, unsealed, position: to ?? from ?? firstPosition }
}

/** Records looked at for one page: its own and as many strangers. */
const strangersMax = 10_000

async function findUnsealed(
  sql: Sql,
  stretch: { account: string; from: ChainPosition; to: ChainPosition; sealed: ReadonlySet<string | null> },
): Promise<ChainPage["unsealed"]> {
  const { account, from, to, sealed } = stretch
  const rows = await sql.query<{ id: string; position: string }>(
    `select id, xid::text as position from audit
     where account = $1 and (xid, id collate "C") > ($2::xid8, $3) and (xid, id collate "C") <= ($4::xid8, $5)
     order by xid, id collate "C" limit $6`,
    [account, from.xid, from.id, to.xid, to.id, strangersMax],
  )
  return rows.filter(({ id }) => !sealed.has(id))
}

/** How far the order of sealing may differ from that of time: transactions end later than they begin. */
const disorderMilliseconds = 60_000

/**
 * The numbers of a stretch of the chain that holds every sealed record of a time; at its ends it may hold some of the
 * minute before and after, since the chain is in the order of commits.
 */
export async function findStretch(
  sql: Sql,
  options: { readonly account: string; readonly from?: number | undefined; readonly to?: number | undefined },
): Promise<{ readonly first: number; readonly last: number }> {
  const { account, from, to } = options
  const head = await findChainHead(sql, account)
  const begin = await findFirstNumber(sql, account)
  const search = (instant: number) => findFirstSince(sql, { account, instant, first: begin, last: head.number })
  const first = from === undefined ? begin : await search(from - disorderMilliseconds)
  const last = to === undefined ? head.number : (await search(to + disorderMilliseconds)) - 1
  return { first, last: Math.max(last, first - 1) }
}

/** 1, unless the beginning was taken out. */
export async function findFirstNumber(sql: Sql, account: string): Promise<number> {
  const [row] = await sql.query<{ number: number }>(
    "select number from audit_seals where account = $1 order by number limit 1",
    [account],
  )
  return row?.number ?? 1
}

/** By halving: the chain is in the order of time but for a minute, which the caller adds. */
async function findFirstSince(
  sql: Sql,
  { account, instant, first, last }: { account: string; instant: number; first: number; last: number },
): Promise<number> {
  let low = first
  let high = Math.max(first, last + 1)
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const [row] = await sql.query<{ earlier: boolean }>(
      `select coalesce(a.time < to_timestamp($3::float8 / 1000), false) as earlier from audit_seals s
       left join audit a on a.aggregate_id = s.record_aggregate and a.id = s.record_id and a.account = s.account
       where s.account = $1 and s.number = $2`,
      [account, middle, instant],
    )
    if (row?.earlier === true) low = middle + 1
    else high = middle
  }
  return low
}
