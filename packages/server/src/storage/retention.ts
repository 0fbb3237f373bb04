import { removeOldEvents } from "./outbox.ts"
import type { CronTask } from "./background-queue.ts"

/** How long what grows is kept (D23). Audit records are kept for ever. */
export const eventsKeptMilliseconds = 30 * 86_400_000
export const idempotencyKeptHours = 24
/** Events that a consumer gave up on, and jobs that failed for the last time, are kept as long as events. */
const failuresKeptDays = 30
const rowsRemovedMax = 10_000
const roundsMax = 100

const removeDeadLetters = `
delete from dead_letter where (aggregate_id, event_id, consumer) in (
  select aggregate_id, event_id, consumer from dead_letter where failed_at < now() - make_interval(days => $1) limit $2)
returning 1`

/** The job queue itself keeps them for ever. */
const removeFailedJobs = `
delete from graphile_worker._private_jobs where id in (
  select id from graphile_worker._private_jobs
  where attempts >= max_attempts and locked_at is null and run_at < now() - make_interval(days => $1) limit $2)
returning 1`

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
            [idempotencyKeptHours, rowsRemovedMax],
          )
          if (removed.length < rowsRemovedMax) return
        }
      },
    },
    {
      name: "storage.failures-retention",
      cron: "37 * * * *",
      async run({ database, signal }) {
        for (const statement of [removeDeadLetters, removeFailedJobs]) {
          for (let round = 0; round < roundsMax && !signal.aborted; round++) {
            const removed = await database.query(statement, [failuresKeptDays, rowsRemovedMax])
            if (removed.length < rowsRemovedMax) break
          }
        }
      },
    },
  ]
}
