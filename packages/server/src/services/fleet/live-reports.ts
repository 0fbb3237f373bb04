import type { ExecutorReport } from "../../router/ports.ts"

/**
 * Progress and output on their way to whoever watches: gathered for a moment, the newest progress and the joined text
 * of each stream. Best effort and bounded; what a task's outcome needs travels in its finished report.
 */
export const liveLimits = {
  flushMilliseconds: 200,
  /** Text of one stream in one flush; the rest is left out with a note. */
  textLengthMax: 64 * 1024,
  attemptsMax: 20_000,
} as const

type Progress = Extract<ExecutorReport, { type: "progress" }>
type Output = Extract<ExecutorReport, { type: "output" }>

interface Gathered {
  progress?: Progress
  readonly outputs: Map<string, { report: Output; skipped: boolean }>
}

export class LiveReports {
  readonly #forward: (report: ExecutorReport) => void
  readonly #byAttempt = new Map<string, Gathered>()

  constructor(forward: (report: ExecutorReport) => void) {
    this.#forward = forward
  }

  add(report: Progress | Output): void {
    const name = `${report.nodeId} ${report.key}`
    const gathered: Gathered = this.#byAttempt.get(name) ?? { outputs: new Map() }
    if (!this.#byAttempt.has(name)) {
      if (this.#byAttempt.size >= liveLimits.attemptsMax) return
      this.#byAttempt.set(name, gathered)
    }
    if (report.type === "progress") gathered.progress = report
    else addOutput(gathered, report)
  }

  /** Forwards what an attempt has, before its end is told. */
  flushAttempt(nodeId: string, key: string): void {
    if (this.#byAttempt.size > 0) this.#flush(`${nodeId} ${key}`)
  }

  flush(): void {
    for (const name of [...this.#byAttempt.keys()]) this.#flush(name)
  }

  #flush(name: string): void {
    const gathered = this.#byAttempt.get(name)
    if (!gathered) return
    this.#byAttempt.delete(name)
    for (const { report } of gathered.outputs.values()) this.#forward(report)
    if (gathered.progress) this.#forward(gathered.progress)
  }
}

const note = "\n[… more than can be shown live; the task's result keeps its head and tail …]\n"

function addOutput(gathered: Gathered, report: Output): void {
  const stream = `${report.step} ${report.stream}`
  const before = gathered.outputs.get(stream)
  if (before?.skipped) return
  const text = (before?.report.text ?? "") + report.text
  const skipped = text.length > liveLimits.textLengthMax
  const shown = skipped ? text.slice(0, liveLimits.textLengthMax).toWellFormed() + note : text
  gathered.outputs.set(stream, { report: { ...report, text: shown }, skipped })
}
