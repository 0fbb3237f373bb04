import type { whyNode } from "@signalbox/contracts/audit/operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { cellText } from "./cell-text.ts"
import { nodeSignalLines } from "./render-node-signals.ts"
import { safeLine } from "./safe-text.ts"

type Answer = OutputOf<typeof whyNode>

/** The answer in one line, then each finding with who approved it, the newest first. */
export function renderNodeAnswer({ answer, findings, signals }: Answer): string {
  const lines = findings.flatMap((finding) => {
    const about = finding.task === undefined ? "" : `  [${finding.task}]`
    const architecture = finding.architecture === undefined ? "" : ` (${finding.architecture})`
    return [
      `${cellText(finding.time)}  ${finding.text}${architecture}${about}`,
      ...finding.approvals.map(({ time, text }) => `  └ ${cellText(time)}  ${text}`),
    ]
  })
  const cause = findings.find((finding) => finding.cause !== undefined)?.cause
  const more = cause === undefined ? [] : [`The whole story: signalbox why ${cause}`]
  return `${[...[answer, ...lines, ...more].map(safeLine), ...nodeSignalLines(signals)].join("\n")}\n`
}
