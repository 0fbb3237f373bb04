/** Writes the runs that firings set going, in the caller's transaction, and tells of those that end as they begin. */
import { actionLimits } from "@signalbox/contracts/actions/operations"
import { isAppError } from "@signalbox/kernel/app-error"
import { actionRunId } from "../../router/action-run-id.ts"
import type { Tx } from "../../storage/database.ts"
import { appendEvents } from "../../storage/outbox.ts"
import { performingLimits } from "./action-limits.ts"
import { findLoop } from "./action-machine.ts"
import type { ActionsOptions } from "./options.ts"
import { dataOf, type PlannedAction, type RulePlan } from "./rule-plan.ts"
import { runEvent } from "./run-events.ts"
import { countRuleDepths, countUnderWay, insertRuns, type NewRun, type RunError } from "./run-store.ts"
import type { TakenEvent } from "./taken-event.ts"

export interface PlannedFiring {
  readonly plan: RulePlan
  readonly event: TakenEvent
}

/** How many more runs a rule may queue now. */
export async function findRoom(tx: Tx, account: string, rule: string): Promise<number> {
  const { queuedPerRuleMax: ruleMax, queuedPerAccountMax: accountMax } = actionLimits
  const { ofRule, ofAccount } = await countUnderWay(tx, account, { rule, ruleMax, accountMax })
  return Math.min(ruleMax - ofRule, accountMax - ofAccount)
}

/** Of one rule's firings, all within its limits; what would go on for ever is stopped, and says so. */
export async function queueFirings(
  options: Pick<ActionsOptions, "clock" | "random">,
  tx: Tx,
  { account, firings }: { readonly account: string; readonly firings: readonly PlannedFiring[] },
): Promise<void> {
  const loops = await findLoops(tx, account, firings)
  const runs = firings.flatMap((firing) =>
    firing.plan.actions.map((action) => newRun(account, firing, { action, loop: loops.get(firing) })),
  )
  await queueRuns(options, tx, runs)
}

export async function queueRuns(
  { clock, random }: Pick<ActionsOptions, "clock" | "random">,
  tx: Tx,
  runs: readonly NewRun[],
): Promise<void> {
  const inserted = await insertRuns(tx, runs, clock.now())
  const ended = runs.filter(({ id, state }) => inserted.has(id) && state !== "queued")
  await appendEvents(
    tx,
    ended.map((run) => runEvent({ clock, random }, { ...run, version: 1, started: null, requestUrl: null })),
  )
}

async function findLoops(
  tx: Tx,
  account: string,
  firings: readonly PlannedFiring[],
): Promise<ReadonlyMap<PlannedFiring, string>> {
  const { depthMax, sameRuleMax } = actionLimits
  const rule = firings[0]?.plan.rule ?? ""
  // A rule can't have acted at more depths than there are before the event.
  const causes = [...new Set(firings.flatMap(({ event }) => (event.depth >= sameRuleMax ? [event.cause] : [])))]
  const depths = await countRuleDepths(tx, account, { rule, causes })
  return new Map(
    firings.flatMap((firing) => {
      const { cause, depth } = firing.event
      const ruleDepths = (depths.get(cause) ?? []).filter((each) => each <= depth).length
      const loop = findLoop(firing.event, { rule, ruleDepths, depthMax, sameRuleMax })
      return loop === undefined ? [] : [[firing, loop] as const]
    }),
  )
}

function newRun(
  account: string,
  { plan, event }: PlannedFiring,
  { action, loop }: { readonly action: PlannedAction; readonly loop: string | undefined },
): NewRun {
  const { rule, version, author } = plan
  const { id: causedBy, cause, depth, type, subject } = event
  return {
    ...{ account, rule, author, cause, causedBy, depth: depth + 1, targets: [], isOwnRule: true, ruleVersion: version },
    id: actionRunId(causedBy, { rule, number: action.number }),
    number: action.number,
    operation: action.operation,
    event: { id: causedBy, type, subject },
    ...renderInput(action, event, loop),
  }
}

function renderInput(
  action: PlannedAction,
  event: TakenEvent,
  loop: string | undefined,
): Pick<NewRun, "state" | "input" | "error"> {
  if (loop !== undefined)
    return { state: "stopped", input: null, error: { code: "actions.loop-stopped", message: loop } }
  try {
    return { state: "queued", input: action.template().render(dataOf(event)) }
  } catch (error) {
    if (!isAppError(error)) throw error
    return { state: "dead", input: null, error: toRunError(error) }
  }
}

export function toRunError({ code, message }: { readonly code: string; readonly message: string }): RunError {
  return { code, message: message.slice(0, performingLimits.messageLengthMax) }
}
