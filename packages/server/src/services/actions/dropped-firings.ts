/** Firings over a rule's budget, or over what may be queued: an event tells of them, one a window for each rule. */
import { newId } from "@signalbox/kernel/id"
import { actionRunId } from "../../router/action-run-id.ts"
import type { NewEvent } from "../../storage/outbox.ts"
import { performingLimits } from "./action-limits.ts"
import type { ActionsOptions } from "./options.ts"
import type { PlannedFiring } from "./queue-runs.ts"
import type { RuleCounts } from "./storm-store.ts"

export interface Dropped {
  readonly count: number
  readonly first: PlannedFiring
  readonly reason: "budget" | "queue"
}

/** Undefined where the window's event was written already: what is dropped meanwhile is told with the next. */
export function droppedEvent(
  { clock, random }: Pick<ActionsOptions, "clock" | "random">,
  of: { readonly account: string; readonly counts: RuleCounts; readonly dropped: Dropped },
): NewEvent | undefined {
  const { account, counts, dropped } = of
  const { plan, event } = dropped.first
  const { rule, version, budget } = plan
  const window = Math.max(budget.withinMilliseconds, performingLimits.droppedToldMilliseconds)
  if (counts.droppedToldAt !== null && clock.now() < counts.droppedToldAt + window) return undefined
  const { id: causedBy, type: eventType, cause, depth } = event
  // The run that it would have been: whoever was told of that finds here why there is none.
  const id = actionRunId(causedBy, { rule, number: plan.actions[0]?.number ?? 0 })
  const count = counts.dropped + dropped.count - counts.droppedTold
  const data = { rule, version, dropped: count, limit: dropped.reason, event: causedBy, eventType }
  return {
    ...{ id: newId("event", clock, random), account, aggregateId: id, type: "action.dropped", subject: id },
    ...{ subjectVersion: 1, cause, causedBy, depth: depth + 1, principal: `rule:${rule}`, data },
  }
}
