import type { CronTask } from "../../storage/background-queue.ts"
import { askForDelivery } from "./deliver.ts"
import { findForgotten, removeOldDeliveries } from "./delivery-store.ts"
import { deliveryLimits } from "./notification-limits.ts"

/** A delivery that is due for so long has lost its job: to a restore, or to a worker that died. */
const forgottenMilliseconds = 60_000
const roundsMax = 100

export function notificationTasks(now: () => number): readonly CronTask[] {
  const limit = deliveryLimits.rowsPerStatement
  return [
    {
      name: "notifications.sweep",
      cron: "* * * * *",
      async run({ database, signal }) {
        const forgotten = await findForgotten(database, { olderThanMilliseconds: forgottenMilliseconds, limit })
        for (const place of forgotten) {
          if (signal.aborted) return
          await askForDelivery(database, place)
        }
      },
    },
    {
      name: "notifications.deliveries-retention",
      cron: "29 * * * *",
      async run({ database, signal }) {
        const before = now() - deliveryLimits.keptMilliseconds
        for (let round = 0; round < roundsMax && !signal.aborted; round++) {
          if ((await removeOldDeliveries(database, { before, limit })) < limit) return
        }
      },
    },
  ]
}
