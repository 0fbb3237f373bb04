/** The event of a batch (D9): one outbox row tells of all tasks that a commit changed, and is expanded at reading. Pure. */
import type { TaskChange } from "@signalbox/engine/types"
import { isTaskEnded } from "@signalbox/engine/task-machine"
import { isRollbackOpen } from "@signalbox/engine/rollback-machine"
import { taskId } from "@signalbox/kernel/id"
import type { Expander } from "../../storage/outbox.ts"

export const progressType = "execution.progressed"

interface Change extends Pick<TaskChange, "attempt" | "state" | "rollback" | "class"> {
  /** Single ordinals, and ranges from ≤ o < to: what ends together often lies together. */
  readonly ordinals: ReadonlyArray<number | readonly [number, number]>
}

export interface ProgressData {
  readonly batch: {
    /** First attempts that were handed out: ordinals from ≤ o < to. */
    readonly started?: readonly [number, number]
    readonly changes: readonly Change[]
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
      changes: groupChanges(changes),
    },
  }
}

function groupChanges(changes: readonly TaskChange[]): Change[] {
  const groups = new Map<string, { readonly change: TaskChange; readonly ordinals: number[] }>()
  for (const change of changes) {
    const key = `${change.attempt} ${change.state} ${change.rollback} ${change.class}`
    const group = groups.get(key)
    if (group) group.ordinals.push(change.ordinal)
    else groups.set(key, { change, ordinals: [change.ordinal] })
  }
  return [...groups.values()].map(({ change: { attempt, state, rollback, class: failureClass }, ordinals }) => ({
    attempt,
    state,
    rollback,
    class: failureClass,
    ordinals: toRanges(ordinals.toSorted((a, b) => a - b)),
  }))
}

function toRanges(ordinals: readonly number[]): Array<number | readonly [number, number]> {
  const ranges: Array<number | readonly [number, number]> = []
  for (let from = 0; from < ordinals.length;) {
    let to = from + 1
    while (to < ordinals.length && ordinals[to] === (ordinals[to - 1] ?? 0) + 1) to += 1
    const [first = 0, last = 0] = [ordinals[from], ordinals[to - 1]]
    ranges.push(first === last ? first : [first, last + 1])
    from = to
  }
  return ranges
}

function fromRange(range: number | readonly [number, number]): number[] {
  if (typeof range === "number") return [range]
  return Array.from({ length: range[1] - range[0] }, (_, index) => range[0] + index)
}

/** The ordinals that an event of an execution tells of. */
export function ordinalsOf(data: unknown): number[] {
  const batch = (data as Partial<ProgressData>).batch
  if (!batch) return []
  const started = batch.started ? fromRange(batch.started) : []
  return [...started, ...batch.changes.flatMap(({ ordinals }) => ordinals.flatMap(fromRange))]
}

/**
 * Versions of a task as a subject: a where its attempt a was handed out, a+1 where the task ended with that attempt,
 * a+2 where its rollback ended. They follow from the row, so no counter has to be kept for a million tasks.
 */
export const progressExpander: Expander = {
  type: progressType,
  produces: ["task.started", "task.finished", "task.rolled-back"],
  expand(row) {
    const { batch } = row.data as ProgressData
    const subjectOf = (ordinal: number): string => taskId(row.aggregateId, ordinal)
    const started = (batch.started ? fromRange(batch.started) : []).map((ordinal) => ({
      type: "task.started",
      subject: subjectOf(ordinal),
      subjectVersion: 1,
      data: { execution: row.aggregateId, ordinal, attempt: 1 },
    }))
    const changed = batch.changes.flatMap(({ ordinals, ...change }) => {
      const named = eventOf(change)
      if (!named) return []
      return ordinals.flatMap(fromRange).map((ordinal) => ({
        type: named.type,
        subject: subjectOf(ordinal),
        subjectVersion: named.version,
        data: { execution: row.aggregateId, ordinal, ...change },
      }))
    })
    return [...started, ...changed]
  },
}

function eventOf({
  attempt,
  state,
  rollback,
}: Omit<Change, "ordinals">): { type: string; version: number } | undefined {
  if (state === "starting") return { type: "task.started", version: attempt }
  if (!isTaskEnded(state)) return undefined
  if (rollback === "none" || rollback === "pending") return { type: "task.finished", version: attempt + 1 }
  return isRollbackOpen(rollback) ? undefined : { type: "task.rolled-back", version: attempt + 2 }
}
