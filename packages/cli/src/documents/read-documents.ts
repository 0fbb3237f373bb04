import { resourceName } from "@signalbox/contracts/schemas"
import { AppError, type Issue } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { isMap, isScalar, LineCounter, parseAllDocuments, type Document } from "yaml"
import type { Declared, DeclaredKind } from "./declared-kind.ts"
import { declaredKinds } from "./declared-kinds.ts"

/** One document of a file, by its kind. */
export type ApplyDocument = WorkflowSource | DeclaredSource

export interface WorkflowSource {
  readonly kind: "Workflow"
  readonly name: string
  /** The text as it stands in the file, so that the server keeps comments. */
  readonly text: string
  /** Of the text's first line, counted from 1: what the server says of line n is about line n + this - 1. */
  readonly line: number
}

/** A document that is an operation's input. */
export interface DeclaredSource {
  readonly kind: string
  readonly name: string
  readonly line: number
  readonly declared: DeclaredKind
  readonly value: Declared
}

export const documentsMax = 1000

/**
 * The documents of a YAML text, in their order. Workflows are checked by the server; what must be known here to send
 * them, and documents of other kinds as a whole, are checked now, all of them before anything is sent.
 *
 * @throws cli.invalid-documents with a line for each issue
 */
export function readDocuments(text: string, file: string): ApplyDocument[] {
  const lines = new LineCounter()
  const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, stringKeys: true })
  const all = Array.isArray(parsed) ? parsed : []
  if (all.length > documentsMax)
    throw new AppError("cli.invalid-documents", `${file} has over ${documentsMax} documents`)
  const issues: Issue[] = []
  const found = all.map((document, index) => {
    const previousEnd = all[index - 1]?.range[2] ?? 0
    return isEmpty(document) ? undefined : readDocument({ text, file, document, lines, issues, previousEnd })
  })
  if (issues.length > 0) throw new AppError("cli.invalid-documents", `${file} is not valid`, { issues })
  const documents = found.filter((document) => document !== undefined)
  if (documents.length === 0) throw new AppError("cli.invalid-documents", `${file} has no document`)
  return documents
}

/** Nothing but comments between two markers. */
function isEmpty({ contents, errors }: Document.Parsed): boolean {
  if (errors.length > 0) return false
  return contents === null || (isScalar(contents) && contents.value === null && contents.source === "")
}

interface Reading {
  readonly text: string
  readonly file: string
  readonly document: Document.Parsed
  readonly lines: LineCounter
  readonly issues: Issue[]
  /** Where the document before ends. */
  readonly previousEnd: number
}

function readDocument(reading: Reading): ApplyDocument | undefined {
  const { document, lines, issues, text, previousEnd } = reading
  const place = (offset: number) => ({ line: lines.linePos(offset).line, column: lines.linePos(offset).col })
  if (document.errors.length > 0) {
    for (const error of document.errors) issues.push({ path: "", message: error.message, ...place(error.pos[0]) })
    return undefined
  }
  const { contents } = document
  const start = contents?.range?.[0] ?? 0
  if (!isMap(contents)) {
    issues.push({ path: "", message: "a document is a mapping with a kind", ...place(start) })
    return undefined
  }
  const kind: unknown = contents.get("kind")
  const name: unknown = contents.get("name")
  if (typeof kind === "string" && Object.hasOwn(declaredKinds, kind)) {
    return readDeclared(reading, { kind, line: place(start).line })
  }
  if (kind !== "Workflow") {
    const node = contents.get("kind", true)
    const at = isScalar(node) ? (node.range?.[0] ?? start) : start
    const said = kind === undefined ? "it has none" : `not ${JSON.stringify(kind)}`
    issues.push({ path: "kind", message: `kind is ${kindNames}, ${said}`, ...place(at) })
    return undefined
  }
  if (typeof name !== "string" || !resourceName.safeParse(name).success) {
    const node = contents.get("name", true)
    const at = isScalar(node) ? (node.range?.[0] ?? start) : start
    issues.push({
      path: "name",
      message: "a workflow needs a name of a-z, 0-9, dot, dash and underscore",
      ...place(at),
    })
    return undefined
  }
  const begin = textStart(text, { previousEnd, contents: start })
  return {
    kind: "Workflow",
    name,
    text: text.slice(begin, document.range[2]).replace(endMarker, "\n"),
    line: place(begin).line,
  }
}

const kindNames = ["Workflow", ...Object.keys(declaredKinds)].join(", ").replace(/, (?=\w+$)/, " or ")

const endMarker = /\n\.\.\.[ \t]*\r?\n?$/

/** After the `---` that begins the document, so that comments at its head belong to it. */
function textStart(text: string, gap: { readonly previousEnd: number; readonly contents: number }): number {
  const markers = [...text.slice(gap.previousEnd, gap.contents).matchAll(/^---[ \t]*(?:#.*)?\r?\n/gm)]
  const marker = markers.at(-1)
  if (marker) return gap.previousEnd + marker.index + marker[0].length
  // `--- {kind: …}`, or no marker before the first document.
  return text.slice(gap.previousEnd, gap.contents).includes("---") ? gap.contents : gap.previousEnd
}

function readDeclared(
  { document, file, lines, issues }: Reading,
  { kind, line }: { readonly kind: string; readonly line: number },
): DeclaredSource | undefined {
  const declared = declaredKinds[kind]
  assert(declared, "the kind is one of the declared ones")
  const result = declared.schema.safeParse(document.toJS({ maxAliasCount: 100 }))
  if (result.success) {
    const value = declared.complete?.(result.data, file) ?? result.data
    return { kind, name: value.name, line, declared, value }
  }
  for (const issue of result.error.issues) {
    const node = document.getIn(issue.path.map(String), true)
    const offset =
      typeof node === "object" && node !== null && "range" in node ? (node.range as [number] | null)?.[0] : undefined
    const at = offset === undefined ? { line } : { line: lines.linePos(offset).line, column: lines.linePos(offset).col }
    issues.push({ path: issue.path.join("."), message: issue.message, ...at })
  }
  return undefined
}

/** What the server says of a workflow, in the lines of the file. */
export function shiftIssues(issues: readonly Issue[], source: WorkflowSource): Issue[] {
  return issues.map((issue) => (issue.line === undefined ? issue : { ...issue, line: issue.line + source.line - 1 }))
}
