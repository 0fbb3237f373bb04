/** How requests are found: by people, by timers, by what changed around them. Instants are milliseconds. */
import type { Sql } from "../../storage/database.ts"
import { requestColumnsWith, type RequestRow } from "./request-store.ts"
import { shownStateSql, type ShownState } from "./shown-state.ts"

export interface ListedRequest extends Omit<RequestRow, "stateData"> {
  readonly shown: ShownState
}

/** A state is taken apart in one place, unpacked once. */
const listedColumns = requestColumnsWith(
  `(select ${shownStateSql} from (select r.state_data || '{}' as s offset 0) state) as shown`,
)

export interface RequestFilter {
  readonly state?: string | undefined
  /** A key of a requester. */
  readonly requester?: string | undefined
  readonly submitter?: string | undefined
  /** Ids below this one. */
  readonly before?: string | undefined
  readonly limit: number
}

/** The newest first. */
export function listRequests(sql: Sql, account: string, filter: RequestFilter): Promise<ListedRequest[]> {
  const values: unknown[] = [account, filter.limit]
  const conditions = ["r.account = $1"]
  const add = (condition: string, value: unknown): void => {
    if (value === undefined) return
    values.push(value)
    conditions.push(condition.replace("?", `$${values.length}`))
  }
  add("r.state = ?", filter.state)
  add("r.requester = ?", filter.requester)
  add("r.submitter = ?", filter.submitter)
  add("r.id < ?", filter.before)
  if (filter.state !== undefined && goingOn.has(filter.state)) conditions.push("r.decided_at is null")
  return sql.query<ListedRequest>(
    `select ${listedColumns} from approval_requests r where ${conditions.join(" and ")} order by r.id desc limit $2`,
    values,
  )
}

/** Comes after the ids of all requests, `apr_…`, in any collation. */
const afterEveryId = "aps"

const goingOn = new Set(["unmatched", "open", "asking"])

/**
 * What waits for somebody, the newest first. Bounds and order name the index's columns one by one, and requests are looked
 * up one by one: no statistics, and no plan made for other values, lead to a walk through what waits for others.
 */
export const waitingStatement = `
  select ${listedColumns} from (
    select account, member_key, request_id from approval_waits
    where (account, member_key, request_id) >= ($1, $2, '')
      and (account, member_key, request_id) < ($1, $2, coalesce($3, '${afterEveryId}'))
    order by account desc, member_key desc, request_id desc limit $4) w,
    lateral (select * from approval_requests where id = w.request_id offset 0) r
  order by w.account desc, w.member_key desc, w.request_id desc`

export function listWaiting(
  sql: Sql,
  account: string,
  of: { readonly key: string; readonly before?: string | undefined; readonly limit: number },
): Promise<ListedRequest[]> {
  return sql.query<ListedRequest>(waitingStatement, [account, of.key, of.before ?? null, of.limit], {
    name: "approval-requests-waiting",
  })
}

/** Requests whose timers are due, the longest overdue first. */
export async function listDue(sql: Sql, now: number, limit: number): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    `select id from approval_requests where next_timer_at <= to_timestamp($1::float8 / 1000)
     order by next_timer_at limit $2`,
    [now, limit],
    { name: "approval-requests-due" },
  )
  return rows.map(({ id }) => id)
}

/** Looks at a request's timers later: it could not be decided about now. */
export async function postponeTimer(sql: Sql, id: string, until: number): Promise<void> {
  await sql.query(
    `update approval_requests set next_timer_at = to_timestamp($2::float8 / 1000)
     where id = $1 and next_timer_at is not null`,
    [id, until],
  )
}

export async function listUnmatched(
  sql: Sql,
  account: string,
  page: { readonly after: string; readonly limit: number },
): Promise<Array<Pick<RequestRow, "id" | "attributes">>> {
  return sql.query<Pick<RequestRow, "id" | "attributes">>(
    `select id, attributes from approval_requests
     where account = $1 and state = 'unmatched' and decided_at is null and id > $2 order by id limit $3`,
    [account, page.after, page.limit],
  )
}

/** Requests under way in which one of these has a seat that is pinned now. */
export async function listWithSeats(
  sql: Sql,
  account: string,
  page: { readonly keys: readonly string[]; readonly after: string; readonly limit: number },
): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    `select id from approval_requests
     where account = $1 and state in ('open', 'asking') and decided_at is null and id > $2
       and exists (
         select 1 from jsonb_path_query(state_data, '$.levels[*] ? (@.state == "open").seats[*].key') as seat (key)
         where seat.key #>> '{}' = any ($3))
     order by id limit $4`,
    [account, page.after, page.keys, page.limit],
  )
  return rows.map(({ id }) => id)
}

/** What has become of requests that somebody waits for. */
export function readVersions(
  sql: Sql,
  ids: readonly string[],
): Promise<Array<{ id: string; version: number; ended: boolean }>> {
  return sql.query<{ id: string; version: number; ended: boolean }>(
    "select id, version, decided_at is not null as ended from approval_requests where id = any ($1)",
    [ids],
    { name: "approval-requests-versions" },
  )
}

/**
 * Removes requests that ended before an instant, with their votes, links and held calls; gives how many. A call that was
 * approved and waits for its time stays.
 */
export async function removeOldRequests(
  sql: Sql,
  at: { readonly before: number; readonly limit: number },
): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    `with gone as (
       delete from approval_requests where id in (
         select r.id from approval_requests r where r.decided_at < to_timestamp($1::float8 / 1000)
           and not exists (select 1 from held_operations h where h.request_id = r.id and h.state = 'approved') limit $2)
       returning id),
     held as (delete from held_operations where request_id in (select id from gone))
     select count(*)::int as count from gone`,
    [at.before, at.limit],
  )
  return row?.count ?? 0
}
