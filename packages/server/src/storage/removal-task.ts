import type { CronTask } from "./background-queue.ts"

/** What is kept of things that are over (D23): as long as the executions that may name them. */
export const recordsKeptMilliseconds = 400 * 86_400_000
export const versionsKept = 1_000

const rowsRemovedMax = 5_000
const roundsMax = 100

/** A scheduled task that removes rows which are past their retention, a bounded number at a time. */
export function removalTask(options: {
  readonly name: string
  readonly cron: string
  readonly keptMilliseconds?: number
  readonly now: () => number
  /** Removes at most `$2` rows of before `$1` (milliseconds), and returns one row for each. */
  readonly statement: string
}): CronTask {
  const { name, cron, now, statement, keptMilliseconds = recordsKeptMilliseconds } = options
  return {
    name,
    cron,
    async run({ database, signal }) {
      for (let round = 0; round < roundsMax && !signal.aborted; round++) {
        const removed = await database.query(statement, [now() - keptMilliseconds, rowsRemovedMax])
        if (removed.length < rowsRemovedMax) return
      }
    },
  }
}
