/** pg-boss with batches of 100 and LISTEN/NOTIFY. It keeps the finished job and its output. */
import pg from "pg"
import { PgBoss } from "pg-boss"
import { contenderInput, finish, type Connection } from "../measure.ts"

const { connection, tasks } = contenderInput<{ connection: Connection; tasks: number }>()
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
const begin = performance.now()
await boss.insert(
  "noop",
  Array.from({ length: tasks }, (_, n) => ({ data: { n } })),
)
for (;;) {
  const { rows } = await client.query<{ count: number }>(
    "select count(*)::int as count from pgboss.job where name = 'noop' and state = 'completed'",
  )
  if (rows[0]?.count === tasks) break
  await new Promise((resolve) => setTimeout(resolve, 20))
}
const seconds = (performance.now() - begin) / 1000
if (done !== tasks) throw new Error(`${done} of ${tasks} ran`)
finish({ seconds, perSecond: tasks / seconds })
