import { cellText, headingOf } from "./cell-text.ts"
import { safeLine, safeText } from "./safe-text.ts"
import { renderTable } from "./table.ts"

/**
 * One thing as people read it: its scalars one a line, then its long texts, and its lists as tables.
 */
export function renderDetails(value: unknown, columns: number | undefined): string {
  if (typeof value !== "object" || value === null) return `${safeText(cellText(value))}\n`
  const lines: Array<[string, string]> = []
  const blocks: string[] = []
  collect(value as Record<string, unknown>, { prefix: "", lines, blocks, columns })
  const width = Math.max(0, ...lines.map(([heading]) => heading.length))
  const head = lines.map(([heading, text]) => `${`${heading}:`.padEnd(width + 2)}${text}\n`).join("")
  return [head, ...blocks].filter((part) => part !== "").join("\n")
}

interface Collected {
  readonly prefix: string
  readonly lines: Array<[string, string]>
  readonly blocks: string[]
  readonly columns: number | undefined
}

function collect(value: Record<string, unknown>, into: Collected): void {
  for (const [key, member] of Object.entries(value)) {
    if (member === undefined) continue
    const heading = into.prefix + headingOf(key)
    if (typeof member === "string" && member.trimEnd().includes("\n")) {
      into.blocks.push(`${heading}:\n${indent(safeText(member))}`)
    } else if (isRows(member)) {
      const fields = [...new Set(member.flatMap((row) => Object.keys(row)))]
      const width = into.columns === undefined ? undefined : into.columns - 2
      into.blocks.push(`${heading}:\n${indent(renderTable(member, { fields, columns: width }))}`)
    } else if (isNested(key, member)) {
      collect(member, { ...into, prefix: `${heading} ` })
    } else {
      into.lines.push([heading, safeLine(cellText(member))])
    }
  }
}

function isRows(value: unknown): value is Array<Record<string, unknown>> {
  return Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "object" && item !== null)
}

/** Members that are maps from a name to a scalar: they stay on one line. */
const maps = new Set(["tags", "parameters", "data"])

function isNested(key: string, value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !maps.has(key)
}

export function indent(text: string, by = "  "): string {
  return text.replaceAll(/^(?=.)/gm, by).replace(/\n?$/, "\n")
}
