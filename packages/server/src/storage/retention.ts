import { removeOldEvents } from "./outbox.ts"
import type { CronTask } from "./background-queue.ts"

/** How long what grows is kept (D23). Audit records are kept for ever. */
export const eventsKeptMilliseconds = 30 * 86_400_000
export const idempotencyKeptHours = 24
const idempotencyRemovedMax = 10_000
const roundsMax = 100

/** The scheduled tasks that remove what is past its retention, a bounded number of rows at a time. */
export function storageRetention(now: () => number): readonly CronTask[] {
  return [
    {
      name: "storage.events-retention",
      cron: "17 * * * *",
      async run({ database, signal }) {
        for (let round = 0; round < roundsMax && !signal.aborted; round++) {
          const removed = await database.transaction((tx) => removeOldEvents(tx, now() - eventsKeptMilliseconds))
          if (removed === 0) return
        }
      },
    },
    {
      name: "storage.idempotency-retention",
      cron: "*/10 * * * *",
      async run({ database, signal }) {
        for (let round = 0; round < roundsMax && !signal.aborted; round++) {
          const removed = await database.query(
            `delete from idempotency where id in (
               select id from idempotency where created_at < now() - make_interval(hours => $1) order by created_at limit $2)
             returning 1`,
            [idempotencyKeptHours, idempotencyRemovedMax],
          )
          if (removed.length < idempotencyRemovedMax) return
        }
      },
    },
  ]
}
