import stringWidth from "string-width"
import { cellText, headingOf, memberAt } from "./cell-text.ts"
import { safeLine } from "./safe-text.ts"

const columnGap = 2
/** No column is made narrower than this to fit a terminal. */
const columnWidthMin = 8

/**
 * Rows as a table with a heading. With `columns`, the widest columns are cut until a line fits; without (a pipe),
 * nothing is cut.
 */
export function renderTable(
  rows: readonly unknown[],
  options: { readonly fields: readonly string[]; readonly columns?: number | undefined; readonly heading?: boolean },
): string {
  const { fields, columns, heading = true } = options
  const cells = rows.map((row) => fields.map((field) => safeLine(cellText(memberAt(row, field)))))
  if (heading) cells.unshift(fields.map((field) => headingOf(field).toUpperCase()))
  const widths = fields.map((_, index) => cells.reduce((max, row) => Math.max(max, stringWidth(row[index] ?? "")), 0))
  if (columns !== undefined) narrow(widths, columns)
  return cells.map((row) => `${renderRow(row, widths)}\n`).join("")
}

function renderRow(row: readonly string[], widths: readonly number[]): string {
  return row
    .map((cell, index) => {
      const width = widths[index] ?? 0
      const text = fit(cell, width)
      return index === row.length - 1 ? text : text + " ".repeat(width - stringWidth(text) + columnGap)
    })
    .join("")
    .trimEnd()
}

/** Takes columns away from the widest until the line fits or every column is at its least. */
function narrow(widths: number[], columns: number): void {
  const total = () => widths.reduce((sum, width) => sum + width, 0) + columnGap * (widths.length - 1)
  while (total() > columns) {
    const widest = Math.max(...widths)
    if (widest <= columnWidthMin) return
    widths[widths.lastIndexOf(widest)] = widest - 1
  }
}

/** The text, cut to a width with an ellipsis. */
export function fit(text: string, width: number): string {
  if (stringWidth(text) <= width) return text
  if (width <= 0) return ""
  let cut = ""
  let used = 0
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    used += stringWidth(segment)
    if (used > width - 1) break
    cut += segment
  }
  return `${cut}…`
}
