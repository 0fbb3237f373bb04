/** The SQL of the directory of sessions: which server holds a node's newest one, and what that shows of the node. */
import type { Sql } from "../../storage/database.ts"
import { liveServer } from "../../storage/server-lease.ts"

export interface SessionClaim {
  readonly account: string
  readonly nodeId: string
  readonly sessionId: string
}

/** A session that another server holds of the same node, and that is older. */
export interface OlderSession {
  readonly nodeId: string
  readonly sessionId: string
}

/** Writes that these sessions are their nodes' newest, one of a node at most. Gives those of other servers that they replace. */
export async function claimSessions(
  sql: Sql,
  serverId: string,
  claims: readonly SessionClaim[],
): Promise<OlderSession[]> {
  return sql.query<OlderSession>(
    `with given as (
       select n.id as node_id, n.account, g.session_id
       from unnest($1::text[], $2::text[], $3::text[]) as g (node_id, account, session_id)
       join nodes n on n.id = g.node_id and n.account = g.account
     ), older as (
       select s.node_id, s.session_id from node_sessions s join given g on g.node_id = s.node_id where s.server_id <> $4
     ), claimed as (
       insert into node_sessions as s (node_id, account, session_id, server_id)
       select node_id, account, session_id, $4 from given order by node_id
       on conflict (node_id) do update
         set session_id = excluded.session_id, server_id = excluded.server_id, opened_at = now()
     )
     select node_id as "nodeId", session_id as "sessionId" from older`,
    [
      claims.map((claim) => claim.nodeId),
      claims.map((claim) => claim.account),
      claims.map((claim) => claim.sessionId),
      serverId,
    ],
  )
}

export interface PresenceChange extends SessionClaim {
  /** When the node was last heard, in milliseconds. */
  readonly at: number
}

export interface PresenceRow {
  readonly id: string
  readonly account: string
  readonly name: string
  readonly online: boolean
  readonly version: number
}

const presenceColumns = "nodes.id, nodes.account, nodes.name, nodes.online, nodes.version"
const givenChanges = "unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as g (id, account, session_id, at)"

function valuesOf(changes: readonly PresenceChange[]): unknown[] {
  return [
    changes.map((change) => change.nodeId),
    changes.map((change) => change.account),
    changes.map((change) => change.sessionId),
    changes.map((change) => change.at),
  ]
}

/** Shows nodes as online whose newest session this still is; gives those that were not shown so before. */
export async function showOnline(sql: Sql, changes: readonly PresenceChange[]): Promise<PresenceRow[]> {
  return sql.query<PresenceRow>(
    `update nodes set online = true, version = nodes.version + 1,
       last_seen_at = greatest(nodes.last_seen_at, to_timestamp(g.at / 1000.0))
     from ${givenChanges} join node_sessions s on s.node_id = g.id and s.session_id = g.session_id
     where nodes.id = g.id and nodes.account = g.account and not nodes.online
     returning ${presenceColumns}`,
    valuesOf(changes),
  )
}

/** Ends sessions, and shows the nodes as offline whose newest they were. A newer one waits for the lock on its row. */
export async function endSessions(sql: Sql, changes: readonly PresenceChange[]): Promise<PresenceRow[]> {
  return sql.query<PresenceRow>(
    `with gone as (
       delete from node_sessions s using ${givenChanges}
       where s.node_id = g.id and s.account = g.account and s.session_id = g.session_id
       returning s.node_id, s.account, g.at
     )
     update nodes set online = false, version = nodes.version + 1,
       last_seen_at = greatest(nodes.last_seen_at, to_timestamp(gone.at / 1000.0))
     from gone where nodes.id = gone.node_id and nodes.account = gone.account and nodes.online
     returning ${presenceColumns}`,
    valuesOf(changes),
  )
}

/** Whose sessions end without their word: those of servers that are gone, or of all but this one. */
export type LapsedServers = { readonly butServer?: string }

/** Ends some of the sessions of servers whose lease has lapsed. `count` is how many sessions; rows are of nodes shown as online. */
export async function endLapsedSessions(
  sql: Sql,
  { butServer }: LapsedServers,
  limit: number,
): Promise<{ count: number; rows: PresenceRow[] }> {
  const lapsed = butServer === undefined ? `not ${liveServer("s.server_id")} and $2::text is null` : "s.server_id <> $2"
  const rows = await sql.query<PresenceRow & { changed: boolean }>(
    `with gone as (
       delete from node_sessions where node_id in (
         select s.node_id from node_sessions s where ${lapsed} order by s.node_id limit $1 for update skip locked)
       returning node_id, account
     ), shown as (
       update nodes set online = false, version = nodes.version + 1
       from gone where nodes.id = gone.node_id and nodes.account = gone.account and nodes.online
       returning ${presenceColumns}
     )
     select coalesce(shown.id, gone.node_id) as id, gone.account, shown.name, shown.online, shown.version,
       shown.id is not null as changed
     from gone left join shown on shown.id = gone.node_id`,
    [limit, butServer ?? null],
  )
  return { count: rows.length, rows: rows.filter(({ changed }) => changed) }
}

/** Shows nodes as offline that no session is on record for, as an earlier version of the program leaves them. */
export async function hideOrphans(sql: Sql, limit: number): Promise<PresenceRow[]> {
  return sql.query<PresenceRow>(
    `update nodes set online = false, version = nodes.version + 1
     where nodes.id in (
       select n.id from nodes n where n.online and not exists (select from node_sessions s where s.node_id = n.id)
       order by n.id limit $1 for update skip locked)
     returning ${presenceColumns}`,
    [limit],
  )
}

/** Writes when nodes were last heard; gives those that still exist, whether they are held, and their newest session. */
export async function touchNodes(
  sql: Sql,
  seen: ReadonlyArray<{ readonly account: string; readonly nodeId: string; readonly heardAt: number }>,
): Promise<Array<{ id: string; held: boolean; sessionId: string | null }>> {
  return sql.query(
    `update nodes set last_seen_at = greatest(nodes.last_seen_at, to_timestamp(given.at / 1000.0))
     from unnest($1::text[], $2::text[], $3::bigint[]) as given (id, account, at)
     left join node_sessions s on s.node_id = given.id
     where nodes.id = given.id and nodes.account = given.account
     returning nodes.id, nodes.held_at is not null as held, s.session_id as "sessionId"`,
    [seen.map((node) => node.nodeId), seen.map((node) => node.account), seen.map((node) => node.heardAt)],
  )
}
