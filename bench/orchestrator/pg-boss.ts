/** pg-boss with batches of 100 and LISTEN/NOTIFY. It keeps the finished job and its output. */
import pg from "pg"
import { PgBoss } from "pg-boss"
import { contenderInput, finish, firstAndLast, type Connection } from "../measure.ts"

const { connection, tasks, rounds } = contenderInput<{ connection: Connection; tasks: number; rounds: number }>()
const boss = new PgBoss({ ...connection, max: 20, useListenNotify: true })
boss.on("error", (error) => console.error(error))
await boss.start()
await boss.createQueue("noop", { notify: true })
let done = 0
await boss.work(
  "noop",
  { batchSize: 100, localConcurrency: 1, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 },
  async (jobs) => {
    done += jobs.length
    return { ok: true }
  },
)
await new Promise((resolve) => setTimeout(resolve, 500))
const client = new pg.Client({ ...connection })
await client.connect()
let round = 0
const { first, last } = await firstAndLast(rounds, async () => {
  round++
  const begin = performance.now()
  await boss.insert(
    "noop",
    Array.from({ length: tasks }, (_, n) => ({ data: { n } })),
  )
  for (;;) {
    const { rows } = await client.query<{ count: number }>(
      "select count(*)::int as count from pgboss.job where name = 'noop' and state = 'completed'",
    )
    if (rows[0]?.count === tasks * round) break
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return (performance.now() - begin) / 1000
})
if (done !== tasks * rounds) throw new Error(`${done} of ${tasks * rounds} ran`)
finish({ perSecond: tasks / last, firstPerSecond: tasks / first })
