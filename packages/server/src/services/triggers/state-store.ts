import type { Sql, Tx } from "../../storage/database.ts"
import type { Labels, Silenced } from "./quiet.ts"
import type { SignalState } from "./signal-machine.ts"

/** The SQL of the states of signals on nodes. Instants are milliseconds. */
export interface StateRow {
  readonly nodeId: string
  readonly signalId: string
  readonly account: string
  readonly signal: string
  readonly node: string
  readonly labels: Labels
  readonly state: SignalState
  readonly since: number
  readonly value: number | null
  readonly silenced: Silenced | null
  readonly version: number
}

const columns = `node_id as "nodeId", signal_id as "signalId", account, signal, node, labels, state, since, value,
  silenced, version`

export function readStates(sql: Sql, nodeIds: readonly string[]): Promise<StateRow[]> {
  return sql.query<StateRow>(`select ${columns} from signal_states where node_id = any ($1::text[])`, [nodeIds], {
    name: "signal-states-of-nodes",
  })
}

/**
 * Writes new states, each only where its version is one more than what is there. Gives those that were written. The
 * database's clock says nothing here: `since` was measured by the server that evaluates.
 */
export async function writeStates(tx: Tx, rows: readonly StateRow[]): Promise<ReadonlySet<string>> {
  const written = await tx.query<{ nodeId: string; signalId: string }>(
    `insert into signal_states (node_id, signal_id, account, signal, node, labels, state, since, value, silenced, version)
     select c."nodeId", c."signalId", c.account, c.signal, c.node, c.labels, c.state, to_timestamp(c.since / 1000),
       c.value, nullif(c.silenced, 'null'::jsonb), c.version
     from jsonb_to_recordset($1) as c ("nodeId" text, "signalId" text, account text, signal text, node text, labels jsonb,
       state text, since float8, value float8, silenced jsonb, version bigint)
     order by 1, 2
     on conflict (node_id, signal_id) do update set signal = excluded.signal, node = excluded.node,
       labels = excluded.labels, state = excluded.state, since = excluded.since, value = excluded.value,
       silenced = excluded.silenced, missing_due_at = null, version = excluded.version
       where signal_states.version = excluded.version - 1
     returning node_id as "nodeId", signal_id as "signalId"`,
    [JSON.stringify(rows)],
    { name: "signal-states-write" },
  )
  return new Set(written.map(({ nodeId, signalId }) => `${signalId}:${nodeId}`))
}

/** Whether a signal of this name is raised on a node whose labels have these values; a missing one counts as empty. */
export async function isRaisedWith(
  sql: Sql,
  of: { readonly account: string; readonly signal: string; readonly labels: Labels },
): Promise<boolean> {
  const rows = await sql.query(
    `select 1 from signal_states s where account = $1 and signal = $2 and state in ('raised', 'clearing')
       and not exists (select 1 from jsonb_each_text($3::jsonb) as wanted (key, value)
         where coalesce(s.labels ->> wanted.key, '') <> wanted.value) limit 1`,
    [of.account, of.signal, JSON.stringify(of.labels)],
    { name: "signal-states-inhibiting" },
  )
  return rows.length > 0
}

/** Raised states that were told to nobody, in the order of their keys. */
export function listSilenced(
  sql: Sql,
  page: { readonly after: readonly [node: string, signal: string]; readonly limit: number },
): Promise<StateRow[]> {
  return sql.query<StateRow>(
    `select ${columns} from signal_states where silenced is not null and (node_id, signal_id) > ($1, $2)
     order by node_id, signal_id limit $3`,
    [...page.after, page.limit],
  )
}

/** Notes that a node tells nothing more, for these signals, which have a rule for that. */
export async function expectMissing(
  sql: Sql,
  of: { readonly nodeId: string; readonly signalId: string; readonly dueAt: number },
): Promise<void> {
  await sql.query(
    `update signal_states set missing_due_at = to_timestamp($3::float8 / 1000)
     where node_id = $1 and signal_id = $2 and missing_due_at is null`,
    [of.nodeId, of.signalId, of.dueAt],
  )
}

export async function forgetMissing(sql: Sql, nodeId: string): Promise<void> {
  await sql.query("update signal_states set missing_due_at = null where node_id = $1 and missing_due_at is not null", [
    nodeId,
  ])
}

export function listMissingDue(sql: Sql, now: number, limit: number): Promise<StateRow[]> {
  return sql.query<StateRow>(
    `select ${columns} from signal_states where missing_due_at <= to_timestamp($1::float8 / 1000)
     order by missing_due_at limit $2`,
    [now, limit],
  )
}

/** Locks and removes states of one node or of one signal, so many at once. */
export function removeStates(
  tx: Tx,
  of: {
    readonly field: "node_id" | "signal_id"
    readonly account: string
    readonly id: string
    readonly limit: number
  },
): Promise<StateRow[]> {
  return tx.query<StateRow>(
    `delete from signal_states where (node_id, signal_id) in (
       select node_id, signal_id from signal_states where account = $1 and ${of.field} = $2
       order by node_id, signal_id limit $3 for update) returning ${columns}`,
    [of.account, of.id, of.limit],
  )
}

export function listStates(
  sql: Sql,
  of: {
    readonly account: string
    readonly signalId: string
    readonly state: string | undefined
    readonly after: readonly [node: string, id: string]
    readonly limit: number
  },
): Promise<StateRow[]> {
  return sql.query<StateRow>(
    `select ${columns} from signal_states where account = $1 and signal_id = $2 and ($3::text is null or state = $3)
       and (node, node_id) > ($4, $5) order by node, node_id limit $6`,
    [of.account, of.signalId, of.state ?? null, ...of.after, of.limit],
  )
}

/** How many nodes are in which state, by signal. */
export function countStates(
  sql: Sql,
  account: string,
  signalIds: readonly string[],
): Promise<Array<{ signalId: string; state: SignalState; count: number }>> {
  return sql.query(
    `select signal_id as "signalId", state, count(*)::int as count from signal_states
     where account = $1 and signal_id = any ($2::text[]) group by 1, 2`,
    [account, signalIds],
  )
}
