/**
 * Turns events into runs: for each rule that an event matches its limit, its correlation and its budget decide, under the
 * rule's lock, and what fires is queued in the same transaction. A rule counts an event once, however often it comes. Called
 * by the job queue alone.
 */
import { isAppError } from "@signalbox/kernel/app-error"
import { stepCorrelation, type CorrelationState, type MemberList } from "@signalbox/rules/correlation"
import { spendFiring, type BudgetState } from "@signalbox/rules/storm-budget"
import { idle, stepStorm, type StormState } from "@signalbox/rules/storm-control"
import { actionLimits } from "@signalbox/contracts/actions/operations"
import { operationDoneType, type Firing } from "../../router/rule-ports.ts"
import type { Tx } from "../../storage/database.ts"
import type { Consumer } from "../../storage/dispatcher.ts"
import { appendEvents, type DeliveredEvent } from "../../storage/outbox.ts"
import { performingLimits } from "./action-limits.ts"
import { droppedEvent, type Dropped } from "./dropped-firings.ts"
import type { ActionsContext } from "./options.ts"
import { findRoom, queueFirings, type PlannedFiring } from "./queue-runs.ts"
import { planRule, type RulePlan } from "./rule-plan.ts"
import {
  changeRule,
  lockRule,
  noteSeen,
  readGroups,
  ruleIdOf,
  writeGroups,
  type GroupChange,
  type GroupRow,
  type RuleCounts,
} from "./storm-store.ts"
import type { TakenEvent } from "./taken-event.ts"

export function ruleConsumer(context: ActionsContext): Consumer {
  const { rules } = context
  return {
    name: "actions.events",
    types: () => Promise.resolve([operationDoneType, ...rules.eventTypes()]),
    // An event that is deeper sets nothing going, nor a run that says that it was stopped: there is one already.
    isWanted: (event) => event.depth <= actionLimits.depthMax && rules.isAwaited(event.account, toTaken(event)),
    eventsPerJobMax: performingLimits.eventsPerJobMax,
    handle: (event) => takeEvents(context, [event]),
    handleTogether: (events) => takeEvents(context, events),
  }
}

/** An event that a version of a rule matches. */
interface Hit {
  readonly event: TakenEvent
  readonly version: number
  /** Of a correlation. */
  readonly members: ReadonlyArray<{ readonly list: MemberList; readonly index: number }>
}

/** Throws where some rule's part has to be done again; the others' parts are done. */
export async function takeEvents(context: ActionsContext, events: readonly DeliveredEvent[]): Promise<void> {
  const failures: unknown[] = []
  for (const [account, own] of Map.groupBy(events, (event) => event.account)) {
    for (const [rule, hits] of hitsOf(context, account, own)) {
      await takeHits(context, account, { rule, hits }).catch((error: unknown) => void failures.push(error))
    }
  }
  context.performer.wake()
  context.eventsWritten()
  if (failures.length > 0) throw failures[0]
}

/** By rule, in the order of the events. */
function hitsOf({ rules }: ActionsContext, account: string, events: readonly DeliveredEvent[]): Map<string, Hit[]> {
  const found = new Map<string, Hit[]>()
  const add = ({ rule }: Firing, hit: Hit): void => void found.set(rule, [...(found.get(rule) ?? []), hit])
  for (const delivered of events) {
    const event = toTaken(delivered)
    const { firings, members } = rules.matchEvent(account, event)
    for (const firing of firings) add(firing, { event, version: firing.version, members: [] })
    for (const own of Map.groupBy(members, ({ rule, version }) => `${version} ${rule}`).values())
      if (own[0]) add(own[0], { event, version: own[0].version, members: own })
  }
  return found
}

function toTaken(event: DeliveredEvent): TakenEvent {
  const { id, type, subject, time, cause, depth, principal, data } = event
  return { id, type, subject, time, cause, depth, principal, data }
}

async function takeHits(
  context: ActionsContext,
  account: string,
  { rule, hits }: { readonly rule: string; readonly hits: readonly Hit[] },
): Promise<void> {
  const plans = new Map<number, RulePlan>()
  for (const version of new Set(hits.map((hit) => hit.version))) {
    const published = await context.rules.find(account, { rule, version })
    if (published) plans.set(version, planRule(published))
  }
  // Of a version that is gone nobody knows what it did.
  const known = hits.filter(({ version }) => plans.has(version))
  if (known.length === 0) return
  await context.database.transaction(async (tx) => {
    const now = context.clock.now()
    const ruleId = ruleIdOf(account, rule)
    const counts = await lockRule(tx, account, { rule, now })
    const fresh = await noteSeen(
      tx,
      { ruleId, account, now },
      known.map(({ event }) => event.id),
    )
    const decided = new Decisions({ now, budget: counts.budget })
    const ready = known.flatMap((hit) => {
      const plan = plans.get(hit.version)
      return plan && fresh.has(hit.event.id) ? decided.findGroup({ ...hit, plan }) : []
    })
    decided.groups = new Map(await readGroups(tx, ruleId, [...new Set(ready.map(({ key }) => key))]))
    for (const hit of ready) decided.take(hit)
    await commitDecisions(context, tx, { account, rule, counts, decided })
  })
}

type ReadyHit = Hit & { readonly plan: RulePlan; readonly key: string }

/** What the events of one transaction come to, for one rule. */
export class Decisions {
  readonly #now: number
  budget: BudgetState
  groups = new Map<string, GroupRow>()
  readonly changed = new Map<string, GroupChange>()
  readonly firings: PlannedFiring[] = []
  suppressed = 0
  dropped = 0
  firstDropped: PlannedFiring | undefined
  error: string | null = null

  constructor({ now, budget }: { readonly now: number; readonly budget: BudgetState }) {
    this.#now = now
    this.budget = budget
  }

  get now(): number {
    return this.#now
  }

  /** An event that can't be grouped fires nothing, and the rule says why. */
  findGroup(hit: Hit & { readonly plan: RulePlan }): ReadyHit[] {
    try {
      return [{ ...hit, key: hit.plan.groupOf(hit.event) }]
    } catch (error) {
      if (!isAppError(error)) throw error
      const { id, type } = hit.event
      this.error = `event ${id} (${type}): ${error.message}`.slice(0, performingLimits.messageLengthMax)
      return []
    }
  }

  take(hit: ReadyHit): void {
    const { plan, event, key } = hit
    if (!plan.limit && !plan.correlation) return this.fire({ plan, event })
    const group = this.groups.get(key)
    const step = stepEvent(hit, group?.state ?? idle, this.#now)
    // What waits fires as the last event that began the wait, in whichever order they are handled.
    const isBeginning = !plan.correlation || hit.members.some(({ list }) => list === "after")
    const before = group?.event ?? null
    const kept = isBeginning && event.time >= (before?.time ?? 0) ? event : before
    this.#keep({ key, ruleVersion: plan.version, event: step.dueAt === undefined ? null : kept }, step)
    if (step.decision === "fire") this.fire({ plan, event })
    if (step.decision === "suppress") this.suppressed += 1
  }

  /** A group whose time has come. */
  wake(plan: RulePlan, group: GroupRow): void {
    const input = { type: "time" } as const
    const { key, ruleVersion, event } = group
    const step = plan.correlation
      ? stepCorrelation(plan.correlation, { state: group.state as CorrelationState, input }, this.#now)
      : plan.limit && stepStorm(plan.limit, { state: group.state as StormState, input }, this.#now)
    this.#keep({ key, ruleVersion, event }, step ?? { state: idle })
    if (step?.decision === "fire" && event) this.fire({ plan, event })
  }

  forget({ key, ruleVersion }: GroupRow): void {
    this.#keep({ key, ruleVersion, event: null }, { state: idle })
  }

  #keep(
    group: Pick<GroupRow, "key" | "ruleVersion" | "event">,
    step: { readonly state: GroupRow["state"]; readonly dueAt?: number; readonly expiresAt?: number },
  ): void {
    const change = { ...group, state: step.state, dueAt: step.dueAt ?? null, expiresAt: step.expiresAt ?? null }
    this.groups.set(group.key, change)
    this.changed.set(group.key, change)
  }

  fire(firing: PlannedFiring): void {
    const { state, isAllowed } = spendFiring(firing.plan.budget, this.budget, this.#now)
    this.budget = state
    if (isAllowed) return void this.firings.push(firing)
    this.dropped += 1
    this.firstDropped ??= firing
  }
}

function stepEvent({ plan, event, members }: ReadyHit, state: GroupRow["state"], now: number) {
  const { correlation, limit } = plan
  if (correlation) {
    const input = { type: "event", at: event.time, members } as const
    return stepCorrelation(correlation, { state: state as CorrelationState, input }, now)
  }
  if (limit) return stepStorm(limit, { state: state as StormState, input: { type: "event", at: event.time } }, now)
  return { state: idle, decision: "fire" } as const
}

export async function commitDecisions(
  context: ActionsContext,
  tx: Tx,
  of: {
    readonly account: string
    readonly rule: string
    readonly counts: RuleCounts
    readonly decided: Decisions
  },
): Promise<void> {
  const { account, rule, counts, decided } = of
  const { now } = decided
  const ruleId = ruleIdOf(account, rule)
  const { added, evicted } =
    decided.changed.size === 0
      ? { added: 0, evicted: 0 }
      : await writeGroups(tx, { ruleId, account, now, groupsCount: counts.groupsCount }, [...decided.changed.values()])
  const queued = decided.firings.length === 0 ? [] : await fitting(tx, account, { rule, firings: decided.firings })
  if (queued.length > 0) await queueFirings(context, tx, { account, firings: queued })
  const dropped = findDropped(decided, queued)
  const told = dropped && droppedEvent(context, { account, counts, dropped })
  if (told) await appendEvents(tx, [told])
  await changeRule(tx, ruleId, {
    ...{ budget: decided.budget, fired: queued.length, suppressed: decided.suppressed },
    ...{ dropped: dropped?.count ?? 0, droppedReason: dropped?.reason ?? null, isDropTold: told !== undefined },
    ...{ groups: added, evicted, error: decided.error, now },
  })
}

function findDropped(
  { dropped, firstDropped, firings }: Decisions,
  queued: readonly PlannedFiring[],
): Dropped | undefined {
  const count = dropped + firings.length - queued.length
  const unqueued = firings.find((firing) => !queued.includes(firing))
  const first = unqueued ?? firstDropped
  return first && { count, first, reason: unqueued ? "queue" : "budget" }
}

/** The first ones, as many as may be queued. */
async function fitting(
  tx: Tx,
  account: string,
  { rule, firings }: { readonly rule: string; readonly firings: readonly PlannedFiring[] },
): Promise<PlannedFiring[]> {
  let room = await findRoom(tx, account, rule)
  return firings.filter(({ plan }) => {
    room -= plan.actions.length
    return room >= 0
  })
}
