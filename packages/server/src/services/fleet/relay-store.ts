/** The SQL of what travels between servers to nodes: orders and health checks. Instants are milliseconds. */
import type { Sql } from "../../storage/database.ts"
import type { OrderRow } from "./order-book.ts"

/** An order as its row holds it. */
export interface WrittenOrder {
  readonly nodeId: string
  readonly key: string
  readonly type: OrderRow["type"]
  /** JSON text. */
  readonly content: string
  readonly sealed: string | null
  readonly expiresAt: number
}

/** Writes orders for nodes that there are; one that is there already becomes a new version. A kill takes its start back. */
export async function writeOrders(sql: Sql, orders: readonly WrittenOrder[]): Promise<void> {
  await sql.query(
    `with given as (
       select n.id as node_id, n.account, g.key, g.type, g.content::json as content, g.sealed, g.expires_at
       from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::float8[])
         as g (node_id, key, type, content, sealed, expires_at)
       join nodes n on n.id = g.node_id
     ), taken_back as (
       delete from agent_outbox o using given g
       where g.type = 'kill' and o.node_id = g.node_id and o.key = g.key and o.type = 'start'
     )
     insert into agent_outbox as o (node_id, key, type, account, content, sealed, expires_at)
     select node_id, key, type, account, content, sealed, to_timestamp(expires_at / 1000)
     from given order by node_id, key, type
     on conflict (node_id, key, type) do update set content = excluded.content, sealed = excluded.sealed,
       version = o.version + 1, written_at = clock_timestamp(), expires_at = excluded.expires_at, taken_by = null`,
    [
      orders.map((order) => order.nodeId),
      orders.map((order) => order.key),
      orders.map((order) => order.type),
      orders.map((order) => order.content),
      orders.map((order) => order.sealed),
      orders.map((order) => order.expiresAt),
    ],
    { name: "fleet-write-orders" },
  )
}

export interface FoundOrder extends Omit<WrittenOrder, "content">, OrderRow {
  readonly content: unknown
}

/** Orders for nodes whose session this server holds and that it hasn't taken, oldest first. */
export async function findOrders(sql: Sql, serverId: string, limit: number): Promise<FoundOrder[]> {
  return sql.query<FoundOrder>(
    `select o.node_id as "nodeId", o.key, o.type, o.content, o.sealed, o.version,
       extract(epoch from o.expires_at)::float8 * 1000 as "expiresAt"
     from agent_outbox o join node_sessions s on s.node_id = o.node_id
     where s.server_id = $1 and o.taken_by is distinct from $1 and o.expires_at > now()
     order by o.written_at, o.node_id, o.key limit $2`,
    [serverId, limit],
    { name: "fleet-find-orders" },
  )
}

const givenRows =
  "unnest($1::text[], $2::text[], $3::text[], $4::int[]) as g (node_id, key, type, version) where o.node_id = g.node_id and o.key = g.key and o.type = g.type and o.version = g.version"

function valuesOf(rows: readonly OrderRow[]): unknown[] {
  return [
    rows.map((row) => row.nodeId),
    rows.map((row) => row.key),
    rows.map((row) => row.type),
    rows.map((row) => row.version),
  ]
}

/** This server carries these orders now. */
export async function takeOrders(sql: Sql, serverId: string, rows: readonly OrderRow[]): Promise<void> {
  await sql.query(`update agent_outbox o set taken_by = $5 from ${givenRows}`, [...valuesOf(rows), serverId], {
    name: "fleet-take-orders",
  })
}

/** Removes the rows of orders that are over; a newer version stays. */
export async function removeOrders(sql: Sql, rows: readonly OrderRow[]): Promise<void> {
  await sql.query(`delete from agent_outbox o using ${givenRows}`, valuesOf(rows), { name: "fleet-remove-orders" })
}

/** Removes what is too late to be carried; gives how many. */
export async function removeLate(sql: Sql, limit: number): Promise<number> {
  const removed = await sql.query(
    `with orders as (
       delete from agent_outbox where (node_id, key, type) in (
         select node_id, key, type from agent_outbox where expires_at < now() order by expires_at limit $1)
       returning 1), probes as (
       delete from agent_probes where expires_at < now() returning 1)
     select 1 from orders union all select 1 from probes`,
    [limit],
  )
  return removed.length
}

/** Asks for a probe of a node that some server has a session of; false where none has. */
export async function writeProbe(
  sql: Sql,
  probe: { readonly nodeId: string; readonly id: string; readonly question: string; readonly milliseconds: number },
): Promise<boolean> {
  const rows = await sql.query(
    `insert into agent_probes (node_id, id, account, question, expires_at)
     select s.node_id, $2, s.account, $3, now() + $4 * interval '1 millisecond' from node_sessions s where s.node_id = $1
     returning 1`,
    [probe.nodeId, probe.id, probe.question, probe.milliseconds],
  )
  return rows.length > 0
}

export interface FoundProbe {
  readonly nodeId: string
  readonly id: string
  readonly question: string
}

/** Takes probes of nodes whose session this server holds, each once. */
export async function takeProbes(sql: Sql, serverId: string, limit: number): Promise<FoundProbe[]> {
  return sql.query<FoundProbe>(
    `update agent_probes p set taken_by = $1
     where (p.node_id, p.id) in (
       select q.node_id, q.id from agent_probes q join node_sessions s on s.node_id = q.node_id
       where s.server_id = $1 and q.taken_by is null and q.expires_at > now() limit $2 for update of q skip locked)
     returning p.node_id as "nodeId", p.id, p.question`,
    [serverId, limit],
  )
}

export async function answerProbe(
  sql: Sql,
  probe: { readonly nodeId: string; readonly id: string; readonly answer: string },
): Promise<void> {
  await sql.query("update agent_probes set answer = $3 where node_id = $1 and id = $2", [
    probe.nodeId,
    probe.id,
    probe.answer,
  ])
}

/** The answers of those of these probes that have one; they are removed. */
export async function takeAnswers(
  sql: Sql,
  probes: ReadonlyArray<{ readonly nodeId: string; readonly id: string }>,
): Promise<Array<{ nodeId: string; id: string; answer: string }>> {
  return sql.query(
    `delete from agent_probes p using unnest($1::text[], $2::text[]) as g (node_id, id)
     where p.node_id = g.node_id and p.id = g.id and p.answer is not null
     returning p.node_id as "nodeId", p.id, p.answer`,
    [probes.map(({ nodeId }) => nodeId), probes.map(({ id }) => id)],
  )
}
