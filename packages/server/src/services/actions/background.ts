import { actionLimits } from "@signalbox/contracts/actions/operations"
import type { CronTask } from "../../storage/background-queue.ts"
import { Poller } from "../../storage/poller.ts"
import { performingLimits } from "./action-limits.ts"
import { fireDueGroups } from "./fire-due-groups.ts"
import { askForHeld } from "./held-runs.ts"
import type { ActionsContext } from "./options.ts"
import { removeOldRuns } from "./run-store.ts"
import { removeExpiredGroups, removeOldRules, removeOldSeen } from "./storm-store.ts"

const roundsMax = 100
const lookMilliseconds = 500
const dayMilliseconds = 86_400_000

/** Looks for groups whose time has come, and for runs whose approval ended unheard. */
export function actionPoller(context: ActionsContext): Poller {
  return new Poller({
    everyMilliseconds: context.scanMilliseconds ?? lookMilliseconds,
    async look(isStopped) {
      while ((await fireDueGroups(context)) && !isStopped());
      while ((await askForHeld(context)) && !isStopped());
    },
    onError: (error) =>
      context.logger.warn(
        { reason: String(error) },
        "looking for groups whose time has come failed; it is tried again",
      ),
  })
}

export function actionTasks({ clock }: ActionsContext): readonly CronTask[] {
  const limit = performingLimits.rowsPerStatement
  const runsMilliseconds = actionLimits.keptDays * dayMilliseconds
  return [
    {
      name: "actions.retention",
      cron: "43 * * * *",
      async run({ database, signal }) {
        const repeat = async (remove: () => Promise<number>): Promise<void> => {
          for (let round = 0; round < roundsMax && !signal.aborted; round++) if ((await remove()) < limit) return
        }
        const now = clock.now()
        await repeat(() => removeOldRuns(database, { before: now - runsMilliseconds, limit }))
        await repeat(() => removeOldSeen(database, { before: now - performingLimits.inboxMilliseconds, limit }))
        await repeat(() => database.transaction((tx) => removeExpiredGroups(tx, { now, limit })))
        await repeat(() => removeOldRules(database, { before: now - runsMilliseconds, limit }))
      },
    },
  ]
}
