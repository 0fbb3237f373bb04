/** Markdown of the generated pages. Cells keep their text; only what would end a cell is escaped. */

export const generatedNotice = "<!-- Written by `npm run generate`; changes here are lost. -->"

export function markdownTable(header: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n")
}

export function page(title: string, ...parts: readonly string[]): string {
  return `${[generatedNotice, `# ${title}`, ...parts].join("\n\n")}\n`
}
