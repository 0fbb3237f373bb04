import { safeLine } from "../output/safe-text.ts"
import { paceText } from "../output/strategy-text.ts"
import { countsText } from "./counts-text.ts"
import { isFinished, markOf, type NodeMark, type TaskUpdate } from "./node-mark.ts"
import { type Execution, type ExecutionUpdate, finishedCountOf, isTerminal } from "./rollout-fold.ts"

/** Above so many nodes, successes are told as progress and not one by one. */
const nodesToldOneByOneMax = 200
const progressShare = 0.05

const toldWaits: ReadonlySet<string> = new Set(["hold", "bake", "approval"])

/** A run as lines for a pipe or a log: one for each change worth telling. */
export class PlainRollout {
  private state: Execution["state"] | undefined
  private readonly told = new Map<number, NodeMark>()
  private finishedTold = 0
  private waitTold: string | undefined

  /** The lines that this message adds; how the run ended is told by `conclusion`. */
  lines(update: ExecutionUpdate): string[] {
    const { execution } = update
    const lines: string[] = []
    if (this.state === undefined) lines.push(introduction(execution))
    else if (execution.state !== this.state && !isTerminal(execution.state)) lines.push(stateLine(execution))
    this.state = execution.state
    lines.push(...this.waitLines(execution))
    const oneByOne = execution.targets.count <= nodesToldOneByOneMax
    for (const task of update.tasks) {
      const line = this.taskLine(task, oneByOne)
      if (line !== undefined) lines.push(line)
    }
    if (!oneByOne) lines.push(...this.progressLines(execution))
    return lines
  }

  /** What holds the run up for longer than a node takes. */
  private waitLines({ id, waitsFor }: Execution): string[] {
    const text = waitsFor && toldWaits.has(waitsFor.for) ? waitsFor.text : undefined
    if (text === this.waitTold) return []
    this.waitTold = text
    return text === undefined ? [] : [safeLine(`${id}: waits: ${text}`)]
  }

  private taskLine(task: TaskUpdate, oneByOne: boolean): string | undefined {
    const mark = markOf(task.state, task.rollback)
    if (!isFinished(task.state) || mark === "never-started" || mark === "skipped") return undefined
    if (mark === "succeeded" && !oneByOne) return undefined
    if (this.told.get(task.ordinal) === mark) return undefined
    this.told.set(task.ordinal, mark)
    const failed = mark !== "succeeded" && mark !== "rolled-back"
    return safeLine(`${task.nodeName}: ${mark}${failed && task.message ? `: ${task.message}` : ""}`)
  }

  private progressLines(execution: Execution): string[] {
    const finished = finishedCountOf(execution)
    if (finished - this.finishedTold < execution.targets.count * progressShare) return []
    this.finishedTold = finished
    return [`${finished}/${execution.targets.count}: ${countsText(execution.counts)}`]
  }
}

function introduction(execution: Execution): string {
  const { workflow, targets } = execution
  const version = workflow.version === undefined ? "" : ` v${workflow.version}`
  const nodes = `${targets.count} ${targets.count === 1 ? "node" : "nodes"}`
  return `${execution.id}: ${workflow.name}${version} over ${nodes}, ${paceText(execution)}`
}

function stateLine(execution: Execution): string {
  return safeLine(`${execution.id}: ${execution.state}${execution.reason ? `: ${execution.reason}` : ""}`)
}
