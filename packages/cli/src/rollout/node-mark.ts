import type { executionUpdate, rollbackStates, taskStates } from "@signalbox/contracts/workflows/operations"
import type { styleText } from "node:util"
import type { z } from "zod"

export type TaskUpdate = z.output<typeof executionUpdate>["tasks"][number]
type TaskState = (typeof taskStates)[number]
type RollbackState = (typeof rollbackStates)[number]

/** How one node of a run is shown; in the order of how much it matters when one glyph stands for many nodes. */
export const nodeMarks = [
  { name: "rollback-failed", glyph: "!", style: "red" },
  { name: "failed", glyph: "✗", style: "red" },
  { name: "interrupted", glyph: "?", style: "red" },
  { name: "unreachable", glyph: "?", style: "red" },
  { name: "rolling-back", glyph: "↶", style: "yellow" },
  { name: "rolled-back", glyph: "↺", style: "yellow" },
  { name: "aborted", glyph: "x", style: "yellow" },
  { name: "running", glyph: "▸", style: "cyan" },
  { name: "starting", glyph: "▹", style: "cyan" },
  { name: "queued", glyph: "·", style: "gray" },
  { name: "never-started", glyph: "-", style: "gray" },
  { name: "skipped", glyph: "-", style: "gray" },
  { name: "succeeded", glyph: "■", style: "green" },
] as const satisfies ReadonlyArray<{ name: string; glyph: string; style: Parameters<typeof styleText>[0] }>

export type NodeMark = (typeof nodeMarks)[number]["name"]

const markIndexes = new Map<NodeMark, number>(nodeMarks.map((mark, index) => [mark.name, index]))

export function markIndex(name: NodeMark): number {
  return markIndexes.get(name) ?? 0
}

export function markOf(state: TaskState, rollback: RollbackState): NodeMark {
  switch (rollback) {
    case "pending":
    case "running":
      return "rolling-back"
    case "rolled-back":
      return "rolled-back"
    case "rollback-failed":
    case "unknown":
      return "rollback-failed"
    case "none":
    case "not-reversible":
      return state
  }
}

const terminal: ReadonlySet<TaskState> = new Set([
  "succeeded",
  "failed",
  "aborted",
  "interrupted",
  "unreachable",
  "skipped",
  "never-started",
])

export function isFinished(state: TaskState): boolean {
  return terminal.has(state)
}
