import { documentFault } from "./document-fault.ts"

/** One logical line of an iCalendar document (RFC 5545, 3.1), after folded lines are joined. */
export interface ContentLine {
  /** In capitals. */
  readonly name: string
  /** What follows the name: parameters and value. */
  readonly rest: string
  /** Where it begins in the document, counted from 1. */
  readonly line: number
}

/** A content line taken apart. Only those that mean something here are: exports hold odd parameters elsewhere. */
export interface Property {
  readonly name: string
  readonly parameters: ReadonlyMap<string, string>
  readonly value: string
  readonly line: number
}

const byteOrderMark = "\uFEFF"
const namePattern = /^([A-Za-z0-9-]+)([;:][^]*)$/

/** The logical lines of a document. Line ends of any system, a byte order mark and blank lines are accepted. */
export function* readContentLines(document: string): Generator<ContentLine> {
  const text = document.startsWith(byteOrderMark) ? document.slice(1) : document
  let open: { text: string; line: number } | undefined
  let line = 0
  for (const physical of text.split(/\r\n|\n|\r/)) {
    line++
    if (physical.startsWith(" ") || physical.startsWith("\t")) {
      if (!open) throw documentFault(line, "the first line goes on with a line that isn't there")
      open.text += physical.slice(1)
      continue
    }
    if (open) yield toContentLine(open)
    open = physical.trim() === "" ? undefined : { text: physical, line }
  }
  if (open) yield toContentLine(open)
}

const shownCharactersMax = 60

function toContentLine({ text, line }: { readonly text: string; readonly line: number }): ContentLine {
  const match = namePattern.exec(text)
  if (!match) {
    const shown = JSON.stringify(text.slice(0, shownCharactersMax))
    throw documentFault(line, `${shown} is no iCalendar line, which has a name, a colon and a value`)
  }
  const [, name = "", rest = ""] = match
  return { name: name.toUpperCase(), rest, line }
}

const parameterPattern = /;([A-Za-z0-9-]+)=((?:"[^"]*"|[^";:,]*)(?:,(?:"[^"]*"|[^";:,]*))*)/y

/** @throws calendars.invalid-document */
export function toProperty({ name, rest, line }: ContentLine): Property {
  const parameters = new Map<string, string>()
  let position = 0
  while (rest[position] === ";") {
    parameterPattern.lastIndex = position
    const match = parameterPattern.exec(rest)
    if (!match) throw documentFault(line, `a parameter of ${name} can't be read`)
    parameters.set((match[1] ?? "").toUpperCase(), unquoted(match[2] ?? ""))
    position = parameterPattern.lastIndex
  }
  if (rest[position] !== ":") throw documentFault(line, `${name} has no value`)
  return { name, parameters, value: rest.slice(position + 1).trim(), line }
}

function unquoted(text: string): string {
  const inner = /^"([^"]*)"$/.exec(text)?.[1] ?? text
  return inner.replaceAll(/\^[n'^]/g, (escape) => parameterEscapes[escape] ?? escape)
}

const parameterEscapes: Readonly<Record<string, string>> = { "^n": "\n", "^'": '"', "^^": "^" }

/** A text value without its escapes. */
export function unescapedText(value: string): string {
  return value.replaceAll(/\\([nN,;\\])/g, (_, escaped: string) =>
    escaped === "n" || escaped === "N" ? "\n" : escaped,
  )
}
