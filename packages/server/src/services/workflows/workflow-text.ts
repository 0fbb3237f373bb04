/** Reads a workflow's YAML: what it says, or everything that is wrong with it, each with line and column. Pure. */
import { createHash } from "node:crypto"
import { workflowDocument, type WorkflowDocument } from "@signalbox/contracts/workflows/document"
import { limits } from "@signalbox/contracts/schemas"
import { AppError } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { isMap, isNode, isPair, isScalar, Lexer, LineCounter, parseDocument, visit, type Document } from "yaml"
import type { z } from "zod"
import { findDocumentFaults } from "./document-check.ts"
import type { Fault, FaultPath } from "./document-fault.ts"

export interface DocumentIssue {
  readonly path: string
  readonly message: string
  readonly line: number
  readonly column: number
}

export interface ParsedWorkflow {
  readonly document: WorkflowDocument
  /** What the digest is taken over: the document as its author wrote it, without the defaults. */
  readonly canonical: string
  readonly digest: string
}

export type ParseResult =
  | { readonly ok: true; readonly workflow: ParsedWorkflow }
  | { readonly ok: false; readonly issues: readonly DocumentIssue[]; readonly onlyTemplates: boolean }

export const issuesMax = 50
/** Enough for any honest use of anchors; an alias bomb needs thousands. */
const aliasesMax = 100
/** Words of YAML in a document: what comes after the lexer may cost more than it is long, so that is bounded first. */
const lexemesMax = 40_000
/** With its aliases written out. */
const canonicalLengthMax = 512 * 1024

interface Source {
  readonly yaml: Document.Parsed
  readonly lines: LineCounter
}

/** @throws workflows.document-too-large */
export function parseWorkflow(text: string): ParseResult {
  const bytes = Buffer.byteLength(text)
  if (bytes > limits.documentBytesMax) {
    throw new AppError(
      "workflows.document-too-large",
      `the document has ${bytes} bytes, and ${limits.documentBytesMax} are allowed`,
    )
  }
  const lines = new LineCounter()
  try {
    checkSize(text)
    // Its own check of unique keys compares each with each.
    const yaml = parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true, uniqueKeys: false })
    return readDocument({ yaml, lines })
  } catch (error) {
    // The parser's own recursion ends here for a text that nests too deeply; so do alias bombs.
    const reason = error instanceof RangeError ? "the text nests too deeply" : messageOf(error)
    return { ok: false, onlyTemplates: false, issues: [{ path: "", message: reason, line: 1, column: 1 }] }
  }
}

function checkSize(text: string): void {
  let lexemes = 0
  let aliases = 0
  for (const lexeme of new Lexer().lex(text)) {
    lexemes += 1
    if (lexeme.startsWith("*")) aliases += 1
    if (lexemes > lexemesMax) throw new Error(`the document has more than ${lexemesMax} words of YAML`)
    if (aliases > aliasesMax) throw new Error(`the document has more than ${aliasesMax} aliases`)
  }
}

/** As `parseWorkflow`. @throws workflows.invalid-document, workflows.invalid-template, workflows.document-too-large */
export function getWorkflow(text: string): ParsedWorkflow {
  const result = parseWorkflow(text)
  if (result.ok) return result.workflow
  const [first] = result.issues
  const where = first ? `line ${first.line}, column ${first.column}: ${first.path ? `${first.path}: ` : ""}` : ""
  const code = result.onlyTemplates ? "workflows.invalid-template" : "workflows.invalid-document"
  throw new AppError(code, `${where}${first?.message ?? "the document is not valid"}`, { issues: result.issues })
}

/** A document that was accepted before, from its canonical text. */
export function reviveDocument(canonical: unknown): WorkflowDocument {
  return workflowDocument.parse(canonical)
}

function readDocument(source: Source): ParseResult {
  const faults = [...source.yaml.errors, ...source.yaml.warnings, ...repeatedKeys(source.yaml)]
  if (faults.length > 0) {
    const issues = faults.slice(0, issuesMax).map((fault) => {
      const { line, col } = source.lines.linePos(fault.pos[0])
      return { path: "", message: fault.message, line: Math.max(1, line), column: Math.max(1, col) }
    })
    return { ok: false, issues, onlyTemplates: false }
  }
  const value: unknown = source.yaml.toJS({ maxAliasCount: aliasesMax })
  const checked = workflowDocument.safeParse(value)
  if (!checked.success) {
    return refuse(
      source,
      checked.error.issues.flatMap((issue) => faultsOf(issue)),
    )
  }
  const canonical = canonicalJson(value)
  const found = findDocumentFaults(checked.data)
  if (canonical.length > canonicalLengthMax)
    found.push({ path: [], message: `the document is longer than ${canonicalLengthMax} characters`, kind: "document" })
  if (found.length > 0) return refuse(source, found)
  const digest = createHash("sha256").update(canonical).digest("hex")
  return { ok: true, workflow: { document: checked.data, canonical, digest } }
}

function repeatedKeys(yaml: Document.Parsed): Array<{ readonly message: string; readonly pos: [number, number] }> {
  const found: Array<{ message: string; pos: [number, number] }> = []
  visit(yaml, {
    Map(_, map) {
      const names = new Set<string>()
      for (const { key } of map.items) {
        if (!isScalar(key)) continue
        const name = String(key.value)
        if (names.has(name)) found.push({ message: `the key "${name}" is not unique`, pos: [key.range?.[0] ?? 0, 0] })
        names.add(name)
      }
    },
  })
  return found
}

function refuse(source: Source, faults: readonly Fault[]): ParseResult {
  const issues = faults.slice(0, issuesMax).map((fault) => ({
    path: formatPath(fault.path),
    message: fault.message,
    ...positionOf(source, fault.path),
  }))
  return { ok: false, issues, onlyTemplates: faults.every((fault) => fault.kind === "template") }
}

type ZodIssue = z.core.$ZodIssue

function faultsOf(issue: ZodIssue): Fault[] {
  const path = issue.path as FaultPath
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => ({ path: [...path, key], message: "is not a field here", kind: "document" }))
  if (issue.code === "invalid_key")
    return [{ path, message: issue.issues[0]?.message ?? "is not allowed as a name", kind: "document" }]
  if (issue.code === "invalid_union") {
    // The branch whose type fits says the most; the others only say that they are of another type.
    const branches = issue.errors.filter((errors) => !errors.some((error) => isTypeFault(error)))
    const branch = branches.length === 1 ? branches[0] : undefined
    if (branch) return branch.flatMap((error) => faultsOf({ ...error, path: [...path, ...error.path] } as ZodIssue))
  }
  if (issue.code === "invalid_union")
    return [
      { path, message: [...new Set(issue.errors.map((errors) => errors[0]?.message))].join("; or "), kind: "document" },
    ]
  if (issue.code === "invalid_type" && issue.input === undefined && issue.message.includes("received undefined"))
    return [{ path, message: "is required", kind: "document" }]
  return [{ path, message: issue.message, kind: "document" }]
}

function isTypeFault(issue: ZodIssue): boolean {
  return issue.path.length === 0 && issue.code === "invalid_type"
}

/** @example formatPath(["steps", 1, "run"]) // "steps[1].run" */
function formatPath(path: FaultPath): string {
  return path.reduce<string>(
    (text, part) => (typeof part === "number" ? `${text}[${part}]` : text === "" ? part : `${text}.${part}`),
    "",
  )
}

/** Where the innermost part of the path stands that the text has: the key of a field, the entry of a list. */
function positionOf({ yaml, lines }: Source, path: FaultPath): { line: number; column: number } {
  let node: unknown = yaml.contents
  let offset = 0
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(part))
      if (!pair || !isPair(pair)) break
      offset = isNode(pair.key) ? (pair.key.range?.[0] ?? offset) : offset
      node = pair.value
    } else {
      node = isCollection(node) ? node.items[Number(part)] : undefined
      if (!isNode(node)) break
      offset = node.range?.[0] ?? offset
    }
  }
  const { line, col } = lines.linePos(offset)
  return { line: Math.max(1, line), column: Math.max(1, col) }
}

function isCollection(node: unknown): node is { items: unknown[] } {
  return isNode(node) && "items" in node && Array.isArray(node.items)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
