import { executionStatesTerminal } from "@signalbox/contracts/workflows/execution-states"
import type { executionUpdate } from "@signalbox/contracts/workflows/operations"
import type { z } from "zod"
import { isFinished, markIndex, markOf, type TaskUpdate } from "./node-mark.ts"

/**
 * What a person sees of a run, folded out of the messages of `executions.watch`. It holds one byte for each node of
 * the grid and full lines only for nodes in flight and for the first failed ones, so a fleet of any size fits.
 */
export type ExecutionUpdate = z.output<typeof executionUpdate>
export type Execution = ExecutionUpdate["execution"]

export const foldLimits = {
  gridNodesMax: 1_000_000,
  linesMax: 200,
  lineCharactersMax: 500,
  rateWindowMilliseconds: 30_000,
  samplesMax: 300,
} as const

export interface NodeLine {
  readonly ordinal: number
  readonly name: string
  readonly mark: ReturnType<typeof markOf>
  readonly step?: string
  readonly progress?: number
  readonly message?: string
  /** The last line that the node printed. */
  readonly lastLine?: string
}

export interface RolloutView {
  readonly execution: Execution
  /** For each ordinal the index of its mark in `nodeMarks`. */
  readonly marks: Uint8Array
  readonly running: readonly NodeLine[]
  readonly failed: readonly NodeLine[]
  readonly finishedCount: number
  readonly elapsedMilliseconds: number
  readonly nodesPerSecond?: number
  readonly remainingMilliseconds?: number
}

export function isTerminal(state: Execution["state"]): boolean {
  return (executionStatesTerminal as readonly string[]).includes(state)
}

/** Nodes that are done, whichever way. */
export function finishedCountOf({ counts }: Execution): number {
  const { succeeded, failed, aborted, interrupted, unreachable, skipped, neverStarted } = counts
  return succeeded + failed + aborted + interrupted + unreachable + skipped + neverStarted
}

export class RolloutFold {
  private execution: Execution | undefined
  private marks = new Uint8Array(0)
  private readonly running = new Map<number, NodeLine>()
  private readonly failed = new Map<number, NodeLine>()
  private readonly lastLines = new Map<number, string>()
  private samples: Array<{ readonly at: number; readonly finished: number }> = []

  apply(update: ExecutionUpdate, now: number): void {
    this.execution = update.execution
    this.growGrid(update.execution.targets.count)
    for (const { ordinal, text } of update.output) this.keepLastLine(ordinal, text)
    for (const task of update.tasks) this.applyTask(task)
    if (isTerminal(update.execution.state)) this.running.clear()
    this.sample(finishedCountOf(update.execution), now)
  }

  /** Undefined before the first message. */
  view(now: number): RolloutView | undefined {
    const { execution, marks } = this
    if (!execution) return undefined
    const finishedCount = finishedCountOf(execution)
    const nodesPerSecond = this.rate(now)
    const left = execution.targets.count - finishedCount
    const runs = execution.state === "running" && nodesPerSecond !== undefined && nodesPerSecond > 0
    const start = Date.parse(execution.startedAt ?? execution.createdAt)
    const end = execution.finishedAt === undefined ? now : Date.parse(execution.finishedAt)
    return {
      execution,
      marks,
      running: this.lines(this.running),
      failed: this.lines(this.failed),
      finishedCount,
      elapsedMilliseconds: Math.max(0, end - start),
      ...(nodesPerSecond === undefined ? {} : { nodesPerSecond }),
      ...(runs ? { remainingMilliseconds: (left / nodesPerSecond) * 1000 } : {}),
    }
  }

  private growGrid(count: number): void {
    const size = Math.min(count, foldLimits.gridNodesMax)
    if (size <= this.marks.length) return
    const grown = new Uint8Array(size).fill(markIndex("queued"))
    grown.set(this.marks)
    this.marks = grown
  }

  private applyTask(task: TaskUpdate): void {
    const { ordinal, state } = task
    const mark = markOf(state, task.rollback)
    if (ordinal < this.marks.length) this.marks[ordinal] = markIndex(mark)
    const line: NodeLine = {
      ordinal,
      name: task.nodeName,
      mark,
      ...(task.step === undefined ? {} : { step: task.step }),
      ...(task.progress === undefined ? {} : { progress: task.progress }),
      ...(task.message === undefined ? {} : { message: task.message }),
    }
    if (isFinished(state) || state === "queued") this.running.delete(ordinal)
    else setBounded(this.running, ordinal, line)
    if (state === "failed" || state === "interrupted" || state === "unreachable") {
      setBounded(this.failed, ordinal, line)
    } else {
      this.failed.delete(ordinal)
      if (isFinished(state)) this.lastLines.delete(ordinal)
    }
  }

  private keepLastLine(ordinal: number, text: string): void {
    const line = text.trimEnd().split("\n").at(-1)?.slice(-foldLimits.lineCharactersMax)
    if (line) setBounded(this.lastLines, ordinal, line)
  }

  private lines(of: ReadonlyMap<number, NodeLine>): NodeLine[] {
    return [...of.values()].map((line) => {
      const lastLine = this.lastLines.get(line.ordinal)
      return lastLine === undefined ? line : { ...line, lastLine }
    })
  }

  private sample(finished: number, now: number): void {
    const since = now - foldLimits.rateWindowMilliseconds
    this.samples = [...this.samples, { at: now, finished }].slice(-foldLimits.samplesMax)
    // The last sample before the window stays: the rate is measured from it.
    while (this.samples.length > 2 && (this.samples[1]?.at ?? now) < since) this.samples.shift()
  }

  private rate(now: number): number | undefined {
    const [first] = this.samples
    const last = this.samples.at(-1)
    if (!first || !last || now - first.at < 500) return undefined
    return (last.finished - first.finished) / ((now - first.at) / 1000)
  }
}

function setBounded<T>(map: Map<number, T>, key: number, value: T): void {
  if (map.has(key) || map.size < foldLimits.linesMax) map.set(key, value)
}
