import type { KeptOutput, StepResult } from "@signalbox/contracts/fleet/agent-protocol"
import type { OutputOf } from "@signalbox/contracts/operation"
import type { tasksGet } from "@signalbox/contracts/workflows/operations"
import { formatDuration } from "@signalbox/kernel/duration"
import { indent, renderDetails } from "./details.ts"
import { safeLine, safeText } from "./safe-text.ts"

/** A task: its state, then each step with its result and output. */
export function renderTask(task: OutputOf<typeof tasksGet>, columns: number | undefined): string {
  const { outcome, rollbackOutcome, ...head } = task
  const parts = [renderDetails(head, columns)]
  if (outcome) parts.push(...outcome.steps.map((step) => renderStep("step", step)))
  if (rollbackOutcome) {
    const { state, message, restored, undone } = rollbackOutcome
    const text = `rollback: ${state}, ${restored} saved ${restored === 1 ? "path" : "paths"} put back`
    parts.push(`${text}${message ? `: ${safeLine(message)}` : ""}\n`, ...undone.map((step) => renderStep("undo", step)))
  }
  return parts.join("\n")
}

function renderStep(what: string, step: StepResult): string {
  const facts = [
    step.state,
    ...(step.exitCode === undefined ? [] : [`exit status ${step.exitCode}`]),
    ...(step.signal === undefined ? [] : [`signal ${step.signal}`]),
    ...(step.attempts > 1 ? [`${step.attempts} attempts`] : []),
    ...(step.state === "not-run" || step.state === "skipped" ? [] : [formatDuration(step.durationMilliseconds)]),
  ]
  const head = `${what} ${safeLine(step.name)}: ${facts.join(", ")}${step.message ? `: ${safeLine(step.message)}` : ""}\n`
  const outputs = Object.entries(step.outputs ?? {}).map(
    ([name, text]) => `output ${safeLine(name)}: ${safeLine(text)}\n`,
  )
  return (
    head +
    (outputs.length > 0 ? indent(outputs.join("")) : "") +
    renderOutput("stdout", step.stdout) +
    renderOutput("stderr", step.stderr)
  )
}

function renderOutput(name: string, output: KeptOutput | undefined): string {
  if (!output || output.bytes === 0) return ""
  const cut = output.truncated ? `… (${output.bytes} bytes in all, the middle is not kept)\n` : ""
  const join = output.head.endsWith("\n") || cut === "" ? "" : "\n"
  return indent(`${name}:\n${indent(safeText(`${output.head}${join}${cut}${output.tail}`))}`)
}
