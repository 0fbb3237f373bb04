/**
 * The floor of dispatch: how long the commit alone takes that stands between two orders, by plain SQL over one
 * connection to the same database: a task's end, the next one's start, and the event of both.
 */
import pg from "pg"
import type { Sql } from "@signalbox/server/storage/database"
import { commitBatch } from "@signalbox/server/services/workflows/batch-store"
import type { Connection } from "../measure.ts"

const warmUps = 50

let series = 0

/** Milliseconds of each of so many commits, one after the other. */
export async function commitLatencies(connection: Connection, count: number): Promise<number[]> {
  const client = new pg.Client({ ...connection, options: "-c search_path=signalbox" })
  await client.connect()
  const sql: Sql = {
    async query<Row extends object>(text: string, values: readonly unknown[] = [], options: { name?: string } = {}) {
      const result = await client.query<Row>({ text, values: [...values], ...options })
      return result.rows
    },
  }
  const fence = { account: "main", id: `exe_${String(++series).padStart(26, "0")}`, owner: "floor", epoch: 1 }
  await client.query(
    `insert into executions (id, account, state, workflow_name, targets_text, targets_count, concurrency, width, error_limit,
       errors_max, counts, rollbacks, version, cause, caused_by, depth, created_by, owner, epoch)
     values ($1, 'main', 'running', 'noop', 'all', $2, '1', 1, '0', 0, '{}', '{}', 1, 'req', 'req', 0, 'bench', 'floor', 1)`,
    [fence.id, count + warmUps],
  )
  try {
    return await timeCommits(sql, fence, count)
  } finally {
    await client.query("delete from executions where id = $1", [fence.id])
    await client.end()
  }
}

async function timeCommits(
  sql: Sql,
  fence: Omit<Parameters<typeof commitBatch>[1], "batches">,
  count: number,
): Promise<number[]> {
  const latencies: number[] = []
  for (let n = 0; n < count + warmUps; n++) {
    const begin = performance.now()
    const wished = await commitBatch(
      sql,
      { ...fence, batches: n },
      batchOf(fence.id, n, count + warmUps) as unknown as Parameters<typeof commitBatch>[2],
    )
    if (!wished) throw new Error("a commit of the floor wrote nothing")
    if (n >= warmUps) latencies.push(performance.now() - begin)
  }
  return latencies
}

function batchOf(id: string, n: number, targets: number): unknown {
  const head = `done by nod_${"0".repeat(26)}\n`
  const stdout = { head, tail: "", bytes: head.length, truncated: false }
  const step = { name: "noop", state: "succeeded", attempts: 1, exitCode: 0, durationMilliseconds: 0, stdout }
  return {
    state: "running",
    stop: null,
    reason: null,
    ended: false,
    nextOrdinal: n + 1,
    inFlight: 1,
    counts: { queued: targets - n, running: 1, succeeded: n },
    rollbacks: {},
    tasks: [
      {
        ordinal: n,
        first: true,
        state: "succeeded",
        rollback: "none",
        attempt: 1,
        class: null,
        message: null,
        startedAt: Date.now(),
        ended: true,
        outcome: JSON.stringify({ state: "succeeded", steps: [step] }),
        rollbackOutcome: null,
      },
    ],
    events: [
      { id: `evt_${id}_${n}`, type: "execution.progressed", data: { finished: [[n, "succeeded"]], started: [n + 1] } },
    ],
  }
}
