/**
 * The floor: plain SQL over one connection that writes the same rows as ours (targets, results with outputs, events) to
 * the same tables with the same options, 500 at a time. It claims nothing, limits nothing and runs nothing.
 */
import pg from "pg"
import { components } from "@signalbox/server/storage/components"
import { migrate } from "@signalbox/server/storage/migrator"
import { contenderInput, finish, firstAndLast, type Connection } from "../measure.ts"

const { connection, tasks, rounds } = contenderInput<{ connection: Connection; tasks: number; rounds: number }>()
const batch = 500

await migrate({ connection, components, programVersion: "0.1.0" })
const client = new pg.Client({ ...connection, options: "-c search_path=signalbox" })
await client.connect()
let round = 0
const { first, last } = await firstAndLast(rounds, async () => {
  const id = `exe_${String(round++).padStart(26, "0")}`
  await client.query(
    `insert into executions (id, account, state, workflow_name, targets_text, targets_count, concurrency, width, error_limit, errors_max,
       counts, rollbacks, version, cause, caused_by, depth, created_by)
     values ($1, 'main', 'running', 'noop', 'all', $2, '100', 100, '0', 0, '{}', '{}', 1, 'req', 'req', 0, 'bench')`,
    [id, tasks],
  )

  const begin = performance.now()
  for (let from = 0; from < tasks; from += batch) {
    const ordinals = Array.from({ length: Math.min(batch, tasks - from) }, (_, index) => from + index)
    await client.query({
      name: "insert",
      text: `insert into execution_targets (execution_id, ordinal, account, node_id, node_name)
             select $1, n, 'main', 'nod_' || lpad(n::text, 26, '0'), 'node-' || n from unnest($2::int[]) n`,
      values: [id, ordinals],
    })
  }
  for (let from = 0; from < tasks; from += batch) {
    const ordinals = Array.from({ length: Math.min(batch, tasks - from) }, (_, index) => from + index)
    await client.query({
      name: "start",
      text: `with e as (update executions set next_ordinal = $2, in_flight = $3, counts = $4, version = version + 1 where id = $1 returning version)
             insert into outbox (account, aggregate_id, id, type, subject, subject_version, cause, caused_by, depth, principal, data)
             select 'main', $1, $5, 'execution.progressed', $1, version, 'req', $1, 1, 'system:workflows', $6 from e`,
      values: [
        id,
        from + ordinals.length,
        ordinals.length,
        JSON.stringify({ queued: tasks - from - ordinals.length, running: ordinals.length, succeeded: from }),
        `evt_start_${round}_${from}`,
        JSON.stringify({ started: ordinals }),
      ],
    })
    const outcomes = ordinals.map((n) => {
      const stdout = { head: `done by nod_${String(n).padStart(26, "0")}\n`, tail: "", bytes: 38, truncated: false }
      return JSON.stringify({
        state: "succeeded",
        steps: [{ name: "noop", state: "succeeded", attempts: 1, exitCode: 0, durationMilliseconds: 0, stdout }],
      })
    })
    await client.query({
      name: "finish",
      text: `with e as (update executions set in_flight = 0, counts = $2, version = version + 1 where id = $1 returning version),
             t as (
               insert into execution_tasks (execution_id, ordinal, account, state, rollback, attempt, started_at, finished_at, outcome)
               select $1, c.ordinal, 'main', 'succeeded', 'none', 1, now(), now(), c.outcome
               from unnest($3::int[], $4::json[]) as c (ordinal, outcome))
             insert into outbox (account, aggregate_id, id, type, subject, subject_version, cause, caused_by, depth, principal, data)
             select 'main', $1, $5, 'execution.progressed', $1, version, 'req', $1, 1, 'system:workflows', $6 from e`,
      values: [
        id,
        JSON.stringify({ queued: tasks - from - ordinals.length, running: 0, succeeded: from + ordinals.length }),
        ordinals,
        outcomes,
        `evt_finish_${round}_${from}`,
        JSON.stringify({ finished: ordinals.map((n) => [n, "succeeded"]) }),
      ],
    })
  }
  const seconds = (performance.now() - begin) / 1000
  const { rows } = await client.query<{ count: number }>(
    "select count(*)::int as count from execution_tasks where execution_id = $1 and state = 'succeeded' and outcome is not null",
    [id],
  )
  if (rows[0]?.count !== tasks) throw new Error(`${rows[0]?.count} of ${tasks}`)
  return seconds
})
await client.end()
finish({ perSecond: tasks / last, firstPerSecond: tasks / first })
