import type { Frame, Run } from "./terminal-screen.ts"

interface Picture {
  readonly columns: number
  readonly rows: number
  /** How long the last frame stays before it begins again. */
  readonly holdSeconds: number
}

const size = { column: 8.4, row: 18, margin: 16, font: 14 } as const
const colours = {
  background: "#16181d",
  text: "#d7dae0",
  red: "#ff7b72",
  green: "#56d364",
  yellow: "#e3b341",
  cyan: "#76e3ea",
  gray: "#8b949e",
} as const

/** A recording as an SVG that plays by itself wherever pictures are shown; without animation it shows its end. */
export function renderRecording(frames: readonly Frame[], picture: Picture): string {
  const { columns, rows, holdSeconds } = picture
  const total = (frames.at(-1)?.at ?? 0) + holdSeconds
  const width = Math.ceil(columns * size.column + 2 * size.margin)
  const height = rows * size.row + 2 * size.margin
  const lines = Array.from({ length: rows }, (_, row) => renderRow(frames, { row, total }))
  const rules = Object.entries(colours).map(([name, colour]) => `.${name}{fill:${colour}}`)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    `<title>A recorded run of the demo</title>`,
    `<style>text{font:${size.font}px ui-monospace,Menlo,Consolas,monospace;fill:${colours.text};white-space:pre}${rules.join("")}.bold{font-weight:bold}</style>`,
    `<rect class="background" width="100%" height="100%" rx="8"/>`,
    ...lines.flat(),
    "</svg>\n",
  ].join("\n")
}

/** One element for each text that a row ever had, shown while it had it. */
function renderRow(frames: readonly Frame[], { row, total }: { readonly row: number; readonly total: number }) {
  const times = new Map<string, Array<{ from: number; to: number }>>()
  let shown: string | undefined
  for (const [index, frame] of frames.entries()) {
    const text = (frame.lines[row] ?? []).map(renderRun).join("")
    const to = frames[index + 1]?.at ?? total
    const spans = times.get(text) ?? []
    const last = spans.at(-1)
    if (text === shown && last) last.to = to
    else spans.push({ from: frame.at, to })
    times.set(text, spans)
    shown = text
  }
  times.delete("")
  const y = size.margin + row * size.row + size.font
  return [...times].map(([text, spans]) => {
    const isLast = spans.at(-1)?.to === total
    const isAlways = isLast && spans.length === 1 && spans[0]?.from === 0
    const animation = isAlways ? "" : animate(spans, total)
    return `<text x="${size.margin}" y="${y}" xml:space="preserve"${isLast ? "" : ' visibility="hidden"'}>${text}${animation}</text>`
  })
}

function animate(spans: ReadonlyArray<{ from: number; to: number }>, total: number): string {
  const steps = new Map<number, string>([[0, "hidden"]])
  for (const { from, to } of spans) {
    steps.set(from / total, "visible")
    if (to < total) steps.set(to / total, "hidden")
  }
  const times = [...steps.keys()].map((time) => time.toFixed(4)).join(";")
  const values = [...steps.values()].join(";")
  return `<animate attributeName="visibility" calcMode="discrete" dur="${total.toFixed(2)}s" repeatCount="indefinite" keyTimes="${times}" values="${values}"/>`
}

function renderRun({ text, style }: Run): string {
  const escaped = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")
  return style === "" ? escaped : `<tspan class="${style}">${escaped}</tspan>`
}
