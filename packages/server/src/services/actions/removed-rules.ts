/** Calls that wait for an approval when their rule is removed or disabled: they are withdrawn, and their runs end with that. */
import { heldOperationsWithdraw } from "@signalbox/contracts/approvals/held-operations"
import { hasCode } from "@signalbox/kernel/app-error"
import type { Consumer } from "../../storage/dispatcher.ts"
import { performingLimits } from "./action-limits.ts"
import type { ActionsOptions } from "./options.ts"
import { listHeldRuns, type RunRow } from "./run-store.ts"

/** As the service of rules tells of its rules. */
interface RuleChange {
  readonly name: string
  readonly version: number
  readonly enabled: boolean
}

/** Runs of the versions before that one; what a rule of the same name does that is put again is not touched. */
export function removedConsumer(options: ActionsOptions): Consumer {
  return {
    name: "actions.rules",
    types: ["rule.removed", "rule.changed"],
    isWanted: ({ type, data }) => type === "rule.removed" || !(data as RuleChange).enabled,
    async handle({ account, data }, { database, signal }) {
      const { name: rule, version } = data as RuleChange
      const limit = performingLimits.rowsPerStatement
      let after = ""
      while (!signal.aborted) {
        const runs = await listHeldRuns(database, { account, rule, version, after, limit })
        for (const run of runs) await withdraw(options, run)
        after = runs.at(-1)?.id ?? ""
        if (runs.length < limit) return
      }
      signal.throwIfAborted()
    },
  }
}

type Held = Pick<RunRow, "account" | "rule" | "isOwnRule" | "requestId" | "cause" | "id" | "depth">

/** Of a run that was not known to be held when its rule went. True where the rule is gone. */
export async function withdrawIfRemoved(options: ActionsOptions, run: Held): Promise<boolean> {
  if (!run.isOwnRule || (await options.rules.isInForce(run.account, run.rule))) return false
  await withdraw(options, run)
  return true
}

export const removedReason = (rule: string): string => `the rule "${rule}" was removed or disabled`

async function withdraw({ operations }: ActionsOptions, run: Held): Promise<void> {
  const { account, rule, requestId: request, cause, id, depth } = run
  if (request === null) return
  const as = { account, service: "actions", roles: ["gate"], cause, causedBy: id, depth } as const
  try {
    await operations.call(heldOperationsWithdraw, { request, reason: removedReason(rule) }, as)
  } catch (error) {
    // Past its retention.
    if (!hasCode(error, "approvals.request-not-found")) throw error
  }
}
