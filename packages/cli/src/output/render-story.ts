import type { whyExplain } from "@signalbox/contracts/audit/operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { cellText } from "./cell-text.ts"
import { nodeSignalLines } from "./render-node-signals.ts"
import { safeLine } from "./safe-text.ts"

/** Deeper entries are not indented further. */
const indentLevelsMax = 12

type Story = OutputOf<typeof whyExplain>
type Entry = Story["entries"][number]

/** Who asked and what followed, each indented under what caused it; tasks that went well are counted, not listed. */
export function renderStory(story: Story): string {
  const lines = foldTasks(story.entries).map((entry) => {
    const level = Math.min(entry.depth, indentLevelsMax)
    const mark = level === 0 ? "" : `${"  ".repeat(level - 1)}└ `
    const about = entry.subject === "" ? "" : `  [${entry.what} ${entry.subject}]`
    return safeLine(`${cellText(entry.time)}  ${mark}${entry.text}${about}`)
  })
  if (story.truncated) lines.push("There is more than is told here; --limit tells more of it.")
  const head = `The story of ${safeLine(story.id)}, which began with ${safeLine(story.cause)}`
  return [head, ...lines, ...nodeSignalLines(story.signals), ""].join("\n")
}

/** What stands together and tells only that tasks began or ended well becomes one line. */
function foldTasks(entries: readonly Entry[]): Entry[] {
  const folded: Entry[] = []
  for (let index = 0; index < entries.length;) {
    const rest = entries.slice(index)
    const end = rest.findIndex((entry) => !isUneventful(entry))
    const group = end === -1 ? rest : rest.slice(0, end)
    const [first] = group.length > 2 ? group : rest
    if (!first) break
    folded.push(group.length > 2 ? { ...first, text: countText(group), subject: "" } : first)
    index += group.length > 2 ? group.length : 1
  }
  return folded
}

function isUneventful({ what, data }: Entry): boolean {
  return what === "task.started" || (what === "task.finished" && data?.["state"] === "succeeded")
}

function countText(group: readonly Entry[]): string {
  const started = group.filter(({ what }) => what === "task.started").length
  const succeeded = group.length - started
  const parts = [started > 0 ? `${started} started` : undefined, succeeded > 0 ? `${succeeded} succeeded` : undefined]
  return `nodes: ${parts.filter((part) => part !== undefined).join(", ")}`
}
