import type { whyExplain } from "@signalbox/contracts/audit/operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { cellText } from "./cell-text.ts"
import { safeLine } from "./safe-text.ts"

/** Deeper entries are not indented further. */
const indentLevelsMax = 12

/** Who asked and what followed, each indented under what caused it. */
export function renderStory(story: OutputOf<typeof whyExplain>): string {
  const lines = story.entries.map((entry) => {
    const level = Math.min(entry.depth, indentLevelsMax)
    const mark = level === 0 ? "" : `${"  ".repeat(level - 1)}└ `
    return safeLine(`${cellText(entry.time)}  ${mark}${entry.text}  [${entry.what} ${entry.subject}]`)
  })
  if (story.truncated) lines.push("… and more: --limit")
  return [`The story of ${safeLine(story.id)}, which began with ${safeLine(story.cause)}`, ...lines, ""].join("\n")
}
