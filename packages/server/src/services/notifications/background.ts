import type { CronTask } from "../../storage/background-queue.ts"
import { removeOldDeliveries } from "./delivery-store.ts"
import { deliveryLimits } from "./notification-limits.ts"

const roundsMax = 100

export function notificationTasks(now: () => number): readonly CronTask[] {
  const limit = deliveryLimits.rowsPerStatement
  return [
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
