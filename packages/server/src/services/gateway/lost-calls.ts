/** Calls whose server died while it sent them: every minute they become calls of which nobody knows what came. */
import { takeLostCalls } from "../../router/external-call-store.ts"
import { tellUnknown } from "../../router/external-change.ts"
import type { CronTask } from "../../storage/background-queue.ts"
import { removalTask } from "../../storage/removal-task.ts"

const lostMax = 200
const roundsMax = 50
const keptMilliseconds = 30 * 86_400_000

export const lostCalls: CronTask = {
  name: "gateway.lost-calls",
  cron: "* * * * *",
  async run({ database, signal }) {
    for (let round = 0; round < roundsMax && !signal.aborted; round++) {
      const lost = await database.transaction(async (tx) => {
        const calls = await takeLostCalls(tx, lostMax)
        for (const call of calls) await tellUnknown(tx, call)
        return calls.length
      })
      if (lost < lostMax) return
    }
  },
}

/** A key may be used for another call long before. */
export function unknownCallsRetention(now: () => number): CronTask {
  return removalTask({
    name: "gateway.unknown-calls-retention",
    cron: "37 * * * *",
    ...{ keptMilliseconds, now },
    statement: `delete from external_calls where id in (
      select id from external_calls where state = 'unknown' and begun_at < to_timestamp($1::float8 / 1000)
      order by begun_at limit $2) returning id`,
  })
}
