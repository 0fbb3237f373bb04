import { formatDuration } from "@signalbox/kernel/duration"
import { styleText } from "node:util"
import stringWidth from "string-width"
import { safeLine } from "../output/safe-text.ts"
import { fit } from "../output/table.ts"
import { countsText } from "./counts-text.ts"
import { nodeMarks } from "./node-mark.ts"
import type { NodeLine, RolloutView } from "./rollout-fold.ts"

export interface RolloutScreen {
  readonly columns: number
  readonly rows: number
  readonly colour: boolean
}

type Style = Parameters<typeof styleText>[0]
type Paint = (style: Style, text: string) => string

const barWidthMax = 40
/** A shorter bar goes on a line of its own. */
const barWidthMin = 16
const nodeNameWidthMax = 24

/** A run as a picture of at most `rows` lines of at most `columns` characters. Pure. */
export function renderRollout(view: RolloutView, screen: RolloutScreen): string {
  const { columns, rows, colour } = screen
  const paint: Paint = (style, text) => (colour ? styleText(style, text, { validateStream: false }) : text)
  const head = renderHead(view, columns, paint)
  const failed = view.failed.map((line) => renderNode("failed", line, { columns, paint }))
  const running = view.running.map((line) => renderNode("running", line, { columns, paint }))
  // What is left of the screen: the grid first, then what failed, then what runs.
  const left = Math.max(0, rows - head.length)
  const grid = renderGrid(view.marks, { columns, rows: Math.max(1, Math.floor(left / 2)), paint })
  const forLists = Math.max(0, left - grid.length - 1)
  const failedRows = Math.min(failed.length, Math.max(1, forLists - Math.min(running.length, Math.floor(forLists / 2))))
  const lists = [...clip(failed, failedRows, "failed"), ...clip(running, forLists - failedRows, "running")]
  const lines = [...head, ...grid, ...(lists.length > 0 ? ["", ...lists] : [])]
  return lines.slice(0, rows).join("\n")
}

function renderHead(view: RolloutView, columns: number, paint: Paint): string[] {
  const { execution } = view
  const { workflow, counts } = execution
  const title = [
    workflow.version === undefined ? workflow.name : `${workflow.name} v${workflow.version}`,
    execution.id,
    execution.state,
    wholeSeconds(Math.floor(view.elapsedMilliseconds / 1000)),
  ]
  const lines = flow(title, columns).map((line) => paint("bold", line))
  if (execution.reason) lines.push(paint("yellow", fit(safeLine(execution.reason), columns)))
  // That the width is full is seen from the numbers.
  const { waitsFor } = execution
  if (waitsFor && waitsFor.for !== "width" && waitsFor.for !== "wave")
    lines.push(paint("cyan", fit(safeLine(`waits: ${waitsFor.text}`), columns)))
  lines.push(...renderBar(view, columns, paint))
  const failures = counts.failed + counts.interrupted + counts.unreachable
  const facts = [
    `in flight ${execution.inFlight}/${execution.width}`,
    execution.wave ? `wave ${execution.wave.number}/${execution.wave.count}` : "",
    `failures ${failures} of ${execution.errorsMax} tolerated`,
    countsText({ ...counts, failed: 0 }),
  ]
  lines.push(...flow(facts, columns), "")
  return lines
}

function renderBar(view: RolloutView, columns: number, paint: Paint): string[] {
  const total = view.execution.targets.count
  const share = total === 0 ? 0 : view.finishedCount / total
  const facts = [
    `${Math.floor(share * 100)} %`,
    `${view.finishedCount}/${total}`,
    ...(view.nodesPerSecond === undefined ? [] : [`${rateText(view.nodesPerSecond)} nodes/s`]),
    ...(view.remainingMilliseconds === undefined
      ? []
      : [`about ${wholeSeconds(Math.ceil(view.remainingMilliseconds / 1000))} left`]),
  ]
  const text = facts.join("  ")
  const beside = Math.min(barWidthMax, columns - text.length - 2)
  const width = beside >= barWidthMin ? beside : Math.min(barWidthMax, columns)
  const full = Math.floor(share * width)
  const bar = paint("green", "█".repeat(full)) + paint("gray", "░".repeat(width - full))
  return width === beside ? [`${bar}  ${text}`] : [bar, ...flow(facts, columns)]
}

/** Without fractions, which would flicker. */
function wholeSeconds(seconds: number): string {
  return seconds < 10 ? `${seconds}s` : formatDuration(seconds * 1000)
}

function rateText(rate: number): string {
  return rate >= 100 ? String(Math.round(rate)) : rate.toFixed(1)
}

/** One glyph a node; where they don't fit, one for several nodes: the state among them that matters most. */
function renderGrid(
  marks: Uint8Array,
  options: { readonly columns: number; readonly rows: number; readonly paint: Paint },
): string[] {
  const { columns, paint } = options
  if (marks.length === 0) return []
  const fits = marks.length <= columns * options.rows
  const rows = fits ? options.rows : Math.max(1, options.rows - 1)
  const nodesPerCell = Math.ceil(marks.length / (columns * rows))
  const cells: number[] = []
  for (let start = 0; start < marks.length; start += nodesPerCell) {
    cells.push(marks.subarray(start, start + nodesPerCell).reduce((a, b) => Math.min(a, b)))
  }
  const lines: string[] = []
  for (let start = 0; start < cells.length; start += columns) {
    lines.push(paintCells(cells.slice(start, start + columns), paint))
  }
  return fits
    ? lines
    : [...lines, paint("gray", fit(`each mark stands for ${nodesPerCell} nodes, the worst of them`, columns))]
}

/** Neighbours of one style share their escape sequences. */
function paintCells(cells: readonly number[], paint: Paint): string {
  let text = ""
  for (let start = 0; start < cells.length;) {
    let end = start + 1
    while (end < cells.length && cells[end] === cells[start]) end++
    const mark = nodeMarks[cells[start] ?? 0]
    if (mark) text += paint(mark.style, mark.glyph.repeat(end - start))
    start = end
  }
  return text
}

function renderNode(
  list: "running" | "failed",
  line: NodeLine,
  { columns, paint }: { readonly columns: number; readonly paint: Paint },
): string {
  const name = fit(safeLine(line.name), nodeNameWidthMax)
  const what =
    list === "running"
      ? [
          line.mark === "running" ? undefined : line.mark,
          line.step,
          line.progress === undefined ? undefined : `${Math.round(line.progress)} %`,
        ]
      : [line.mark === "failed" ? undefined : line.mark, line.message, line.lastLine]
  const glyph = nodeMarks.find((mark) => mark.name === line.mark)
  const text = what.filter((part) => part !== undefined && part !== "").join("  ")
  const rest = fit(safeLine(text), Math.max(0, columns - stringWidth(name) - 4))
  return `${paint(glyph?.style ?? "gray", glyph?.glyph ?? " ")} ${name}${rest === "" ? "" : `  ${rest}`}`
}

/** At most `rows` lines; the last tells how many are left out. */
function clip(lines: readonly string[], rows: number, what: string): string[] {
  if (lines.length <= rows) return [...lines]
  if (rows <= 1) return lines.slice(0, Math.max(0, rows))
  return [...lines.slice(0, rows - 1), `  and ${lines.length - rows + 1} more ${what}`]
}

/** Parts beside each other, two spaces apart, on as many lines as they need. */
function flow(parts: readonly string[], columns: number): string[] {
  const lines: string[] = []
  let line = ""
  for (const part of parts.map(safeLine).filter((text) => text !== "")) {
    const longer = line === "" ? part : `${line}  ${part}`
    if (stringWidth(longer) <= columns) {
      line = longer
      continue
    }
    if (line !== "") lines.push(line)
    line = fit(part, columns)
  }
  return line === "" ? lines : [...lines, line]
}
