import { assert } from "@signalbox/kernel/assert"
import { isExecutionEnded } from "./execution-machine.ts"
import { DomainCounts } from "./failure-domains.ts"
import type { EnginePlan } from "./plan.ts"
import { retryDelayOf } from "./retry-delay.ts"
import { isRollbackOpen } from "./rollback-machine.ts"
import { isAtWaveEnd } from "./room.ts"
import { noClasses } from "./run-counts.ts"
import { newState, step } from "./scheduler.ts"
import { SlotTable } from "./slot-table.ts"
import { isTaskEnded } from "./task-machine.ts"
import { waveOf } from "./waves.ts"
import type {
  ClassCounts,
  EngineCommand,
  EngineInput,
  EngineState,
  ExecutionRows,
  NeverStarted,
  OpenTask,
  RunSettings,
  Slot,
  StepResult,
  TaskCounts,
  Wish,
} from "./types.ts"

/** The inputs that lead from this state towards what a person wishes; none where it is so already or can't be yet. */
export function wishInputs(state: EngineState, wish: Wish): readonly EngineInput[] {
  const { execution, stop } = state
  if (isExecutionEnded(execution)) return []
  switch (wish) {
    case "run":
      return execution === "pausing" || execution === "paused" ? [{ type: "resume" }] : []
    case "pause":
      return execution === "running" ? [{ type: "pause" }] : []
    case "abort-finish":
      return execution === "aborting" ? [] : [{ type: "abort", mode: "finish" }]
    case "abort-kill":
      return stop?.mode === "kill" ? [] : [{ type: "abort", mode: "kill" }]
  }
}

/**
 * The inputs that lead from this state to a width and a hold that people, or a calendar, want; none where it is so already or
 * can't be any more.
 */
export function settingInputs(state: EngineState, settings: RunSettings): readonly EngineInput[] {
  if (state.execution === "aborting" || isExecutionEnded(state.execution)) return []
  const { width, hold } = settings
  const inputs: EngineInput[] = []
  if (width !== state.width) inputs.push({ type: "set-width", width })
  if (hold?.reason === state.hold?.reason && hold?.until === state.hold?.until) return inputs
  if (!hold) inputs.push({ type: "release-starts" })
  else inputs.push({ type: "hold-starts", reason: hold.reason, ...(hold.until !== null && { until: hold.until }) })
  return inputs
}

function commandOf(state: EngineState, slot: Slot): EngineCommand | undefined {
  const { ordinal, attempt } = slot
  if (isRollbackOpen(slot.rollback)) return { type: "rollback", ordinal, attempt }
  if (slot.state !== "starting" && slot.state !== "running") return undefined
  if (state.stop?.mode === "kill") return { type: "kill", ordinal, attempt, reason: "abort" }
  return { type: "start", ordinal, attempt }
}

/**
 * What a node that has connected again must be told once more: the command of each of its tasks that is in flight.
 * Repeats are safe; the node answers from its journal what it has done already.
 */
export function openCommands(state: EngineState, ordinals: Iterable<number>): readonly EngineCommand[] {
  const commands: EngineCommand[] = []
  for (const ordinal of ordinals) {
    const slot = state.slots.get(ordinal)
    const command = slot && commandOf(state, slot)
    if (command) commands.push(command)
  }
  return commands
}

/** How long this slot waits from now on, as if it had just come into its condition. */
function waitOf(plan: EnginePlan, task: OpenTask): number {
  if (isRollbackOpen(task.rollback)) return plan.rollbackTimeoutMilliseconds + plan.graceMilliseconds
  if (task.state === "queued") return retryDelayOf(plan, task.ordinal, task.attempt)
  if (task.state === "starting") return plan.startTimeoutMilliseconds
  return plan.taskTimeoutMilliseconds + plan.graceMilliseconds
}

/** Engine time at which it is given up. All waiting begins anew: the time without a server is not the node's fault. */
function deadlineOf(base: EngineState, task: OpenTask, killSent: boolean): number {
  const { plan, clock, patientUntil } = base
  const wait = waitOf(plan, task)
  if (task.state === "queued") return clock.time + wait
  return Math.max(clock.time + (killSent ? Math.min(wait, plan.graceMilliseconds) : wait), patientUntil)
}

/** The slot of a row. */
function slotOf(base: EngineState, task: OpenTask): Slot {
  const { ordinal, attempt, state, rollback } = task
  const back = isRollbackOpen(rollback)
  assert(attempt > 0, `task ${ordinal} holds a slot without an attempt`)
  assert(back || !isTaskEnded(state), `task ${ordinal} has ended and holds no slot`)
  const killSent = base.stop?.mode === "kill" && !back
  return {
    ordinal,
    attempt,
    state,
    rollback,
    class: task.class,
    accepted: state === "running",
    touched: back || attempt > 1 || state !== "starting",
    killSent,
    deadline: deadlineOf(base, task, killSent),
  }
}

/** The rest of a stopped run counts as never started, whether or not its rows have been written yet. */
function countsOf(rows: ExecutionRows, rest: number): TaskCounts {
  const waiting = rows.openTasks.filter((task) => task.state === "queued").length
  const restInRows = rows.counts.queued + rows.counts["never-started"] - waiting
  assert(restInRows === rest, `${restInRows} tasks were never started, nextOrdinal leaves ${rest}`)
  return rows.stop === null ? rows.counts : { ...rows.counts, queued: waiting, "never-started": rest }
}

/** Failures by class, checked against the rows where they are needed. */
function classesOf(plan: EnginePlan, rows: ExecutionRows): ClassCounts {
  const { classes, counts } = rows
  if (!classes) {
    assert(!plan.errorsMaxByClass && !plan.stopWhen, "this plan's limits need the failures by class")
    return noClasses
  }
  // Rows of an earlier version lack classes that were added since.
  const all = { ...noClasses, ...classes }
  const sum = Object.values(all).reduce((a, b) => a + b, 0)
  const failed = counts.failed + counts.interrupted + counts.unreachable
  assert(sum === failed, `the classes are of ${sum} failures, the rows of ${failed}`)
  return all
}

/** Engine time up to which a wave that has ended still bakes: never longer than from now, whatever the clocks said. */
function bakeOf(base: EngineState, rows: ExecutionRows): number | null {
  const { bakeUntil } = rows
  if (bakeUntil === undefined || bakeUntil === null || rows.openTasks.length > 0 || !isAtWaveEnd(base)) return null
  const left = Math.min(bakeUntil - base.clock.wall, base.plan.bakeMilliseconds ?? 0)
  return base.clock.time + Math.max(0, left)
}

function stateOf(plan: EnginePlan, rows: ExecutionRows, now: number): EngineState {
  const { execution, stop, nextOrdinal, openTasks, rollbacks } = rows
  const counts = countsOf(rows, plan.targetsCount - nextOrdinal)
  for (const sum of [counts, rollbacks].map((group) => Object.values(group).reduce((a, b) => a + b, 0))) {
    assert(sum === plan.targetsCount, `the counts add up to ${sum}, not to the ${plan.targetsCount} targets`)
  }
  const { width = plan.width, hold = null } = rows
  const wave = waveOf(plan.waves, nextOrdinal)
  const classes = classesOf(plan, rows)
  const pace = { width, hold, wave, classes }
  const fresh = newState(plan, now)
  const patientUntil = fresh.clock.time + (plan.reconnectMilliseconds ?? 0)
  const base: EngineState = { ...fresh, patientUntil, execution, stop, nextOrdinal, counts, rollbacks, ...pace }
  const slots = new SlotTable()
  const domains = plan.domains ? new DomainCounts() : null
  let nextDeadline = Number.POSITIVE_INFINITY
  for (const task of openTasks) {
    assert(task.ordinal >= 0 && task.ordinal < nextOrdinal, `task ${task.ordinal} is open beyond nextOrdinal`)
    const slot = slotOf(base, task)
    slots.set(slot)
    domains?.add(plan.domains?.[task.ordinal] ?? -1, 1)
    nextDeadline = Math.min(nextDeadline, slot.deadline)
  }
  assert(slots.size === openTasks.length, "each open task is given once")
  return { ...base, slots, domains, bakeUntil: bakeOf(base, rows), nextDeadline }
}

/**
 * Goes on from the rows after a crash or a change of owner, at wall-clock `now` (milliseconds). The same attempts are
 * sent again (never new ones), and the stored wish and settings are applied. Commit and use the result like that of any step.
 */
export function recoverState(plan: EnginePlan, rows: ExecutionRows, now: number): StepResult {
  const base = stateOf(plan, rows, now)
  if (isExecutionEnded(base.execution)) return { state: base, taskChanges: [], commands: [], ignored: [] }
  const repeated = openCommands(
    base,
    [...base.slots.values()].map((slot) => slot.ordinal),
  )
  const settings = rows.settings ? settingInputs(base, rows.settings) : []
  const result = step(base, [...settings, ...wishInputs(base, rows.wish)], now)
  const neverStarted = result.neverStarted ?? restOf(base)
  return { ...result, ...(neverStarted && { neverStarted }), commands: [...repeated, ...result.commands] }
}

function restOf(base: EngineState): NeverStarted | undefined {
  const { nextOrdinal: from, plan } = base
  return base.stop && from < plan.targetsCount ? { from, to: plan.targetsCount } : undefined
}
