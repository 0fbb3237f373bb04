import type { TaskOutcome } from "@signalbox/contracts/fleet/agent-protocol"
import { allSteps } from "./task-runner.ts"
import { findResumption, type Attempt, type JournalRecord } from "./attempt.ts"
import type { AttemptContext } from "./attempt-context.ts"
import { endGroup } from "./command-runner.ts"
import { findMarkedGroups, isAlive, readBootId } from "./process-identity.ts"

/**
 * What a killed agent left: to be called once, before any order is taken. A task that had started and has no end is
 * `interrupted` and never runs again, unless it only waited for people; what still runs of it is stopped. A rollback is done again if only files may have
 * been touched (that is idempotent); once an undo may have run its outcome is `unknown`.
 */
export async function recoverAttempts(context: AttemptContext): Promise<void> {
  for (const attempt of [...context.journal.attempts()]) {
    const { task, rollback } = attempt.phases
    const taskCut = task === "running" || (attempt.damaged === true && task === "accepted")
    const undoCut = rollback === "running" && attempt.undoBegun
    if (taskCut || undoCut) await endLeftovers(context, attempt)
    if (taskCut) await finishInterrupted(context, attempt)
    if (undoCut) {
      const message = "the agent ended during the rollback; an undo command may have run in part, so none was run again"
      await context.journal.append(attempt.key, {
        type: "finished",
        phase: "rollback",
        outcome: { state: "unknown", message, restored: 0, undone: [] },
      })
    }
  }
}

async function finishInterrupted(context: AttemptContext, attempt: Attempt): Promise<void> {
  const { key } = attempt
  const records = await context.journal.read(key)
  const accepted = records.find((record): record is Extract<JournalRecord, { order: unknown }> => "order" in record)
  // Nothing ran here: the wait goes on.
  if (accepted && !attempt.damaged && findResumption(records, accepted.order)) return
  const underWay = attempt.stepUnderWay?.phase === "task" ? attempt.stepUnderWay.step : undefined
  const step = underWay === undefined ? undefined : accepted?.order.steps[underWay]?.name
  const message = attempt.damaged
    ? "the journal of this attempt is damaged: whether it ran to its end is not known"
    : `the agent ended while ${step === undefined ? "the task" : `step "${step}"`} ran; how far it came is not known`
  const steps = [...attempt.stepResults]
  if (step !== undefined && steps.length === underWay) {
    steps.push({ name: step, state: "killed", attempts: 1, durationMilliseconds: 0, message: "its end is not known" })
  }
  const outcome: TaskOutcome = {
    state: "interrupted",
    class: "interrupted",
    message,
    steps: accepted ? allSteps(accepted.order, steps) : steps,
  }
  context.logger.warn("an attempt was interrupted", { key, message })
  await context.journal.append(key, { type: "finished", phase: "task", outcome })
}

/**
 * Ends the process group of the command that was running. Its number is believed only if that very process lives or
 * somebody in the group carries the attempt's marker; a process whose number was not noted in time is found by it.
 */
async function endLeftovers(context: AttemptContext, attempt: Attempt): Promise<void> {
  for (const group of findLeftovers(attempt)) {
    context.logger.warn("ending what an interrupted step left running", { key: attempt.key, group })
    await endGroup(group, context.limits)
  }
}

function findLeftovers({ key, stepUnderWay, process: known }: Attempt): number[] {
  if (!stepUnderWay) return []
  if (!known) return findMarkedGroups(`${key}/${stepUnderWay.phase}/${stepUnderWay.step}\0`)
  if (known.bootId !== undefined && known.bootId !== readBootId()) return []
  return isAlive(known) ? [known.pid] : findMarkedGroups(`${key}/`, known.pid)
}
