import { readContentLines, toProperty, type ContentLine, type Property } from "./content-lines.ts"
import { documentFault } from "./document-fault.ts"

/** A component of an iCalendar document: what stands between `BEGIN:` and `END:`. */
export interface Component {
  /** In capitals. */
  readonly name: string
  readonly line: number
  readonly lines: readonly ContentLine[]
  readonly components: readonly Component[]
}

const depthMax = 8
const componentsMax = 20_000

interface OpenComponent {
  readonly name: string
  readonly line: number
  readonly lines: ContentLine[]
  readonly components: Component[]
}

/** The calendars of a document, mostly one. @throws calendars.invalid-document */
export function readComponents(document: string): readonly Component[] {
  const root: OpenComponent = { name: "", line: 1, lines: [], components: [] }
  const open: OpenComponent[] = [root]
  let count = 0
  for (const content of readContentLines(document)) {
    const top = open.at(-1) ?? root
    if (content.name === "BEGIN") {
      const { value, line } = toProperty(content)
      if (++count > componentsMax) throw documentFault(line, `a calendar has at most ${componentsMax} components`)
      if (open.length > depthMax) throw documentFault(line, "its components are nested too deep")
      open.push({ name: value.toUpperCase(), line, lines: [], components: [] })
    } else if (content.name === "END") {
      const { value, line } = toProperty(content)
      if (open.length === 1 || value.toUpperCase() !== top.name)
        throw documentFault(line, `END:${value} ends nothing that is open${top.name && ` (${top.name} is)`}`)
      open.pop()
      open.at(-1)?.components.push(top)
    } else {
      if (open.length === 1) throw documentFault(content.line, "a calendar begins with BEGIN:VCALENDAR")
      top.lines.push(content)
    }
  }
  const left = open.at(-1)
  if (left && left !== root) throw documentFault(left.line, `${left.name} begins here and has no END`)
  const wrong = root.components.find(({ name }) => name !== "VCALENDAR")
  if (wrong) throw documentFault(wrong.line, `${wrong.name} stands outside of a VCALENDAR`)
  if (root.components.length === 0)
    throw documentFault(1, "the document is empty; a calendar begins with BEGIN:VCALENDAR")
  return root.components
}

/** The first property of a name. */
export function findProperty({ lines }: Component, name: string): Property | undefined {
  const found = lines.find((content) => content.name === name)
  return found && toProperty(found)
}

export function listProperties({ lines }: Component, name: string): Property[] {
  return lines.filter((content) => content.name === name).map(toProperty)
}
