/** The event of a batch (D9): one outbox row tells of all tasks that a commit changed, and is expanded at reading. Pure. */
import type { TaskChange } from "@signalbox/engine/types"
import { isTaskEnded } from "@signalbox/engine/task-machine"
import { isRollbackOpen } from "@signalbox/engine/rollback-machine"
import { taskId } from "@signalbox/kernel/id"
import type { Expander } from "../../storage/outbox.ts"

export const progressType = "execution.progressed"

/** [ordinal, attempt, state, rollback, class] */
type Changed = readonly [number, number, string, string, string | null]

export interface ProgressData {
  readonly batch: {
    /** First attempts that were handed out: ordinals from ≤ o < to. */
    readonly started?: readonly [number, number]
    readonly tasks: readonly Changed[]
  }
}

/** Undefined where the batch tells of no task. `firstStarts` are the ordinals that the step started for the first time. */
export function progressOf(
  changes: readonly TaskChange[],
  firstStarts: { readonly from: number; readonly to: number },
): ProgressData | undefined {
  const hasStarts = firstStarts.to > firstStarts.from
  if (changes.length === 0 && !hasStarts) return undefined
  return {
    batch: {
      ...(hasStarts && { started: [firstStarts.from, firstStarts.to] as const }),
      tasks: changes.map((change) => [change.ordinal, change.attempt, change.state, change.rollback, change.class]),
    },
  }
}

/** The ordinals that an event of an execution tells of. */
export function ordinalsOf(data: unknown): number[] {
  const batch = (data as Partial<ProgressData>).batch
  if (!batch) return []
  const [from, to] = batch.started ?? [0, 0]
  return [...Array.from({ length: to - from }, (_, index) => from + index), ...batch.tasks.map(([ordinal]) => ordinal)]
}

/**
 * Versions of a task as a subject: 2a-1 its attempt a was handed out, 2a that attempt ended, 2a+1 its rollback ended.
 * They follow from the row, so no counter has to be kept for a million tasks.
 */
export const progressExpander: Expander = {
  type: progressType,
  produces: ["task.started", "task.retrying", "task.finished", "task.rolled-back"],
  expand(row) {
    const { batch } = row.data as ProgressData
    const subjectOf = (ordinal: number): string => taskId(row.aggregateId, ordinal)
    const [from, to] = batch.started ?? [0, 0]
    const started = Array.from({ length: to - from }, (_, index) => ({
      type: "task.started",
      subject: subjectOf(from + index),
      subjectVersion: 1,
      data: { execution: row.aggregateId, ordinal: from + index, attempt: 1 },
    }))
    const changed = batch.tasks.flatMap((change) => {
      const named = eventOf(change)
      if (!named) return []
      const [ordinal, attempt, state, rollback, failureClass] = change
      return [
        {
          type: named.type,
          subject: subjectOf(ordinal),
          subjectVersion: named.version,
          data: { execution: row.aggregateId, ordinal, attempt, state, rollback, class: failureClass },
        },
      ]
    })
    return [...started, ...changed]
  },
}

function eventOf([, attempt, state, rollback]: Changed): { type: string; version: number } | undefined {
  const ended = isTaskEnded(state as TaskChange["state"])
  if (!ended && state === "starting") return { type: "task.started", version: 2 * attempt - 1 }
  if (!ended && state === "queued") return { type: "task.retrying", version: 2 * attempt }
  if (!ended) return undefined
  if (rollback === "none" || rollback === "pending") return { type: "task.finished", version: Math.max(1, 2 * attempt) }
  if (isRollbackOpen(rollback as TaskChange["rollback"])) return undefined
  return { type: "task.rolled-back", version: 2 * attempt + 1 }
}
