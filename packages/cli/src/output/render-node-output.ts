import type { KeptOutput } from "@signalbox/contracts/fleet/agent-protocol"
import type { FinishedTask } from "../rollout/finished-tasks.ts"
import { safeText } from "./safe-text.ts"

/** What a node printed, as `node | line`, and why it failed where it did, as `node ! reason`. */
export function renderNodeOutput(task: FinishedTask, options: { readonly forTerminal: boolean }): string {
  const show = options.forTerminal ? safeText : (text: string) => text
  const { nodeName, outcome, state, message } = task
  const lines =
    task.output?.flatMap(({ text }) => splitLines(text)) ??
    (outcome?.steps ?? []).flatMap((step) => [...linesOf(step.stdout), ...linesOf(step.stderr)])
  const printed = lines.map((line) => `${nodeName} | ${show(line)}\n`)
  if (state === "succeeded") return printed.join("")
  return `${printed.join("")}${nodeName} ! ${state}${message ? `: ${safeText(message)}` : ""}\n`
}

function linesOf(output: KeptOutput | undefined): string[] {
  if (!output || output.bytes === 0) return []
  const { head, tail, bytes, truncated } = output
  if (!truncated) return splitLines(head + tail)
  return [...splitLines(head), `… (${bytes} bytes in all, the middle is not kept)`, ...splitLines(tail)]
}

function splitLines(text: string): string[] {
  const lines = text.split("\n").map((line) => line.replace(/\r$/, ""))
  if (lines.at(-1) === "") lines.pop()
  return lines
}
