import type { CronTask } from "../../storage/background-queue.ts"
import type { Sql } from "../../storage/database.ts"
import { recordsKeptMilliseconds } from "../../storage/removal-task.ts"
import { removeOldAttempts } from "./login-attempts.ts"
import type { IdentityOptions } from "./options.ts"
import { removeOldProviderLogins } from "./provider-login-store.ts"
import type { SessionDirectory } from "./session-directory.ts"
import { removeOldSessions } from "./session-store.ts"
import { removeOldKeys } from "./store.ts"

const sessionsKeptMilliseconds = 30 * 86_400_000
const rowsRemovedMax = 10_000
const roundsMax = 100
const flushMilliseconds = 60_000

/** Removes what nobody needs any more, a bounded number of rows at a time. */
export function identityTasks(now: () => number): readonly CronTask[] {
  return removals.map(({ name, cron, remove, keptMilliseconds = 0 }) => ({
    name,
    cron,
    async run({ database, signal }) {
      for (let round = 0; round < roundsMax && !signal.aborted; round++) {
        const removed = await remove(database, { before: now() - keptMilliseconds, limit: rowsRemovedMax })
        if (removed < rowsRemovedMax) return
      }
    },
  }))
}

interface Removal {
  readonly name: string
  readonly cron: string
  readonly remove: (sql: Sql, options: { before: number; limit: number }) => Promise<number>
  readonly keptMilliseconds?: number
}

const removals: readonly Removal[] = [
  { name: "identity.attempts-retention", cron: "*/15 * * * *", remove: removeOldAttempts },
  { name: "identity.provider-logins-retention", cron: "*/15 * * * *", remove: removeOldProviderLogins },
  {
    name: "identity.sessions-retention",
    cron: "41 * * * *",
    remove: removeOldSessions,
    keptMilliseconds: sessionsKeptMilliseconds,
  },
  {
    name: "identity.keys-retention",
    cron: "51 * * * *",
    remove: removeOldKeys,
    keptMilliseconds: recordsKeptMilliseconds,
  },
]

/** Writes down now and then, and at the end, when sessions were used. */
export function startFlushing(
  sessions: SessionDirectory,
  { logger }: Pick<IdentityOptions, "logger">,
): { stop(): Promise<void> } {
  let running: Promise<void> = Promise.resolve()
  const flush = (): void => {
    running = running
      .then(() => sessions.flush())
      .catch((error: unknown) => logger.warn({ err: error }, "writing down when sessions were used failed"))
  }
  const timer = setInterval(flush, flushMilliseconds)
  return {
    async stop() {
      clearInterval(timer)
      flush()
      await running
    },
  }
}
