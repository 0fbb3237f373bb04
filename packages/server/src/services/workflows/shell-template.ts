/**
 * Templates in shell text. A value never becomes part of the text that the shell parses: the template is replaced by a
 * reference to an environment variable, quoted for the place where it stands. So no value can end a quotation. Where the
 * scanner, which knows less than a shell, can't be sure of the place, the text is refused: an unquoted reference in the
 * place of a command would run its value.
 */
import { AppError } from "@signalbox/kernel/app-error"
import { unreachable } from "@signalbox/kernel/assert"
import { variableOf, type Reference, type TemplatePart } from "./template.ts"

type Place = "plain" | "group" | "backtick" | "single" | "double" | "expansion" | "arithmetic" | "comment"
interface Heredoc {
  readonly delimiter: string
  readonly quoted: boolean
  readonly stripTabs: boolean
}

interface Scanner {
  readonly places: Place[]
  readonly awaited: Heredoc[]
  heredoc: Heredoc | undefined
  /** A substitution was opened in the here-document: what follows may be a command. */
  heredocNests: boolean
  /** What stands between the last line break and here, literal text only. */
  line: string
  atWordStart: boolean
}

const heredocPattern = /^<<(-?)[ \t]*(?:'([^'\n]+)'|"([^"\n]+)"|(\\?)([A-Za-z0-9_.-]+))/

/** @throws workflows.invalid-template where a template stands in a place that can't take a value safely */
export function renderShell(parts: readonly TemplatePart[]): string {
  const scanner: Scanner = {
    places: ["plain"],
    awaited: [],
    heredoc: undefined,
    heredocNests: false,
    line: "",
    atWordStart: true,
  }
  const text = parts
    .map((part) => {
      if (typeof part !== "string") return place(scanner, part)
      scan(scanner, part)
      return part
    })
    .join("")
  endLine(scanner)
  const open = scanner.places.length > 1 || scanner.heredoc !== undefined || scanner.awaited.length > 0
  if (open && parts.some((part) => typeof part !== "string"))
    throw new AppError("workflows.invalid-template", "a quotation, a parenthesis or a here-document is never closed")
  return text
}

function place(scanner: Scanner, reference: Reference): string {
  scanner.atWordStart = false
  scanner.line += "x"
  const variable = `\${${variableOf(reference)}}`
  if (scanner.heredoc) {
    if (scanner.heredoc.quoted)
      throw refusal("a here-document with a quoted delimiter", "take the quotes off the delimiter")
    if (!scanner.heredocNests) return variable
    throw refusal("a here-document after a substitution", "put the result into a variable first")
  }
  const where = scanner.places.at(-1) ?? "plain"
  switch (where) {
    case "plain":
    case "group":
    case "backtick":
      return `"${variable}"`
    case "single":
      return `'"${variable}"'`
    case "double":
    case "comment":
      return variable
    case "expansion":
    case "arithmetic":
      throw refusal("${…} or $((…))", "put it into a variable of its own first")
    default:
      return unreachable(where)
  }
}

function refusal(where: string, advice: string): AppError {
  return new AppError("workflows.invalid-template", `a template can't stand inside ${where}; ${advice}`)
}

function scan(scanner: Scanner, text: string): void {
  for (let index = 0; index < text.length;) index += Math.max(1, advance(scanner, text, index))
}

/** Reads what begins at `index`; gives how many characters that is. */
function advance(scanner: Scanner, text: string, index: number): number {
  const character = text.charAt(index)
  if (character === "\n") {
    endLine(scanner)
    return 1
  }
  scanner.line += character
  if (scanner.heredoc) {
    if (character === "`" || /^\$[({]/.test(text.slice(index, index + 2))) scanner.heredocNests = true
    return 1
  }
  const where = scanner.places.at(-1) ?? "plain"
  if (where === "comment") return 1
  if (where === "single") {
    if (character === "'") scanner.places.pop()
    return 1
  }
  const wordStart = scanner.atWordStart
  scanner.atWordStart = /[\s;&|()]/.test(character)
  if (character === "\\") return 2
  if (character === "$") return openDollar(scanner, text.slice(index, index + 3))
  if (character === "`") return toggle(scanner, "backtick")
  if (character === '"') return toggle(scanner, "double")
  if (where === "double") return 1
  return advancePlain(scanner, { text, index, where, wordStart })
}

function advancePlain(
  scanner: Scanner,
  at: { readonly text: string; readonly index: number; readonly where: Place; readonly wordStart: boolean },
): number {
  const { places } = scanner
  switch (at.text.charAt(at.index)) {
    case "'":
      places.push("single")
      return 1
    case "#":
      if (at.wordStart && at.where !== "expansion" && at.where !== "arithmetic") places.push("comment")
      return 1
    case "(":
      places.push(at.where === "arithmetic" ? "arithmetic" : "group")
      return 1
    case ")":
      if (at.where === "group" || at.where === "arithmetic") places.pop()
      return 1
    case "}":
      if (at.where === "expansion") places.pop()
      return 1
    case "<":
      return openHeredoc(scanner, at.text.slice(at.index))
    default:
      return 1
  }
}

function openDollar(scanner: Scanner, ahead: string): number {
  if (ahead === "$((") {
    scanner.places.push("arithmetic", "arithmetic")
    return 3
  }
  if (ahead.startsWith("$(")) {
    scanner.places.push("group")
    scanner.atWordStart = true
    return 2
  }
  if (ahead.startsWith("${")) {
    scanner.places.push("expansion")
    return 2
  }
  return 1
}

function toggle(scanner: Scanner, place: "double" | "backtick"): number {
  if (scanner.places.at(-1) === place) scanner.places.pop()
  else scanner.places.push(place)
  return 1
}

function openHeredoc(scanner: Scanner, ahead: string): number {
  if (ahead.startsWith("<<<")) return 3
  const match = heredocPattern.exec(ahead.slice(0, 200))
  if (!match) return 1
  const [whole, dash, single, double, backslash, bare] = match
  const delimiter = single ?? double ?? bare ?? ""
  scanner.awaited.push({ delimiter, quoted: bare === undefined || backslash === "\\", stripTabs: dash === "-" })
  return whole.length
}

function endLine(scanner: Scanner): void {
  const { heredoc } = scanner
  const line = heredoc?.stripTabs ? scanner.line.replace(/^\t+/, "") : scanner.line
  scanner.line = ""
  scanner.atWordStart = true
  if (heredoc) {
    if (line !== heredoc.delimiter) return
    scanner.heredoc = scanner.awaited.shift()
    scanner.heredocNests = false
    return
  }
  if (scanner.places.at(-1) === "comment") scanner.places.pop()
  const open = scanner.places.at(-1)
  if (open !== "single" && open !== "double") scanner.heredoc = scanner.awaited.shift()
}
