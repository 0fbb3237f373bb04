/** graphile-worker with local queue and batched completion. It deletes a job when it succeeds and keeps no output. */
import { makeWorkerUtils, run } from "graphile-worker"
import pg from "pg"
import { contenderInput, finish, firstAndLast, type Connection } from "../measure.ts"

const { connection, tasks, rounds } = contenderInput<{ connection: Connection; tasks: number; rounds: number }>()
const pool = new pg.Pool({ ...connection, max: 20 })
pool.on("error", (error) => console.error(error))
pool.on("connect", (client) => client.on("error", () => undefined))
const preset = {
  worker: { concurrentJobs: 100, completeJobBatchDelay: 50, localQueue: { size: 1000 }, maxPoolSize: 20 },
}
const utils = await makeWorkerUtils({ pgPool: pool, preset })
await utils.migrate()
let done = 0
let finished = Promise.withResolvers<void>()
const runner = await run({
  pgPool: pool,
  preset,
  noHandleSignals: true,
  taskList: {
    noop: async () => {
      if (++done % tasks === 0) finished.resolve()
    },
  },
})
await new Promise((resolve) => setTimeout(resolve, 500))
const { first, last } = await firstAndLast(rounds, async () => {
  finished = Promise.withResolvers<void>()
  const begin = performance.now()
  for (let from = 0; from < tasks; from += 1000) {
    const jobs = Array.from({ length: Math.min(1000, tasks - from) }, (_, index) => ({
      identifier: "noop",
      payload: { n: from + index },
    }))
    await utils.addJobs(jobs)
  }
  await finished.promise
  for (;;) {
    const { rows } = await pool.query<{ count: number }>(
      "select count(*)::int as count from graphile_worker._private_jobs",
    )
    if (rows[0]?.count === 0) break
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return (performance.now() - begin) / 1000
})
await runner.stop()
if (done !== tasks * rounds) throw new Error(`${done} of ${tasks * rounds} ran`)
finish({ perSecond: tasks / last, firstPerSecond: tasks / first })
