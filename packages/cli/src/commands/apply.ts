import { workflowsApply, workflowsValidate } from "@signalbox/contracts/workflows/operations"
import { AppError, type Issue } from "@signalbox/kernel/app-error"
import type { Client } from "@signalbox/sdk/client"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun } from "../command.ts"
import { compareDocument } from "../documents/compare-document.ts"
import type { Warning } from "../documents/declared-kind.ts"
import { declaredKinds } from "../documents/declared-kinds.ts"
import { type ApplyDocument, readDocuments, shiftIssues } from "../documents/read-documents.ts"
import { exitCodes } from "../exit-codes.ts"
import { readInputFile } from "../input-file.ts"
import { print, printLine } from "../io.ts"
import { safeLine } from "../output/safe-text.ts"

export function addApply(program: Command, frame: CommandFrame): void {
  const command = addCommand(
    program,
    "apply",
    "Store what a file declares: workflows, groups, schedules, windows, channels and the like",
  ).requiredOption("-f, --file <file>", "YAML with one or more documents; - for standard input")
  onRun(command, frame, { run: apply })
  const diff = addCommand(program, "diff", "Show what apply would change; exit code 1 where it would").requiredOption(
    "-f, --file <file>",
    "YAML with one or more documents; - for standard input",
  )
  onRun(diff, frame, { run: showDifference })
}

type Change = "unchanged" | "created" | "changed" | "held"

interface Applied {
  readonly kind: string
  readonly name: string
  readonly result: Change
  readonly version?: number
  readonly requestUrl?: string
  readonly shown?: Readonly<Record<string, string>>
  readonly warnings?: readonly Warning[]
}

/** The whole file is checked before the first document is sent; then one after another. */
async function apply(context: CommandContext): Promise<number> {
  const { file, documents } = await read(context)
  const client = await context.client()
  await validateWorkflows(client, documents, file)
  const items: Applied[] = []
  for (const document of documents) {
    const applied = await applyOne(client, document)
    items.push(applied)
    if (!context.json) await printLine(context.io.stdout, appliedText(applied))
  }
  if (context.json) await context.show({ items }, () => "")
  return items.some(({ result }) => result === "held") ? exitCodes.held : exitCodes.ok
}

async function read(context: CommandContext): Promise<{ file: string; documents: ApplyDocument[] }> {
  const path = context.options["file"] as string
  const file = path === "-" ? "standard input" : path
  return { file, documents: readDocuments(await readInputFile(path, context.io), file) }
}

/** Finds what is wrong in any of the documents before the first one is stored. */
async function validateWorkflows(client: Client, documents: readonly ApplyDocument[], file: string): Promise<void> {
  const issues: Issue[] = []
  for (const document of documents) {
    if ("declared" in document) continue
    const result = await client.call(workflowsValidate, { document: document.text })
    issues.push(...shiftIssues(result.issues, document))
  }
  if (issues.length > 0) throw new AppError("workflows.invalid-document", `${file} is not valid`, { issues })
}

function appliedText({ kind, name, result, version, requestUrl, shown = {}, warnings = [] }: Applied): string {
  const what = `${declaredKinds[kind]?.noun ?? "workflow"} ${name}`
  if (result === "held") return `${what} held for approval: ${requestUrl}`
  const once = Object.entries(shown).map(([member, value]) => `\n  ${member}, shown this once: ${value}`)
  const known = warnings.map(({ path, message }) => `\n  warning: ${safeLine(`${path}: ${message}`)}`)
  return `${what} ${result}${version === undefined ? "" : ` (version ${version})`}${[...once, ...known].join("")}`
}

async function applyOne(client: Client, document: ApplyDocument): Promise<Applied> {
  const { kind, name } = document
  if (!("declared" in document)) {
    const reply = await client.call(workflowsApply, { name, document: document.text })
    if (reply.status === "held") return { kind, name, result: "held", requestUrl: reply.requestUrl }
    const { changed, version } = reply.value
    return { kind, name, result: changed ? (version === 1 ? "created" : "changed") : "unchanged", version }
  }
  return { kind, name, ...(await document.declared.apply(client, document.value)) }
}

async function showDifference(context: CommandContext): Promise<number> {
  const { documents, file } = await read(context)
  const { createTwoFilesPatch, FILE_HEADERS_ONLY } = await import("diff")
  const client = await context.client()
  await validateWorkflows(client, documents, file)
  const items = []
  for (const document of documents) {
    const { kind, name } = document
    const { before, after, changed } = await compareDocument(client, document)
    const what = `${kind}/${name}`
    const patch = changed
      ? createTwoFilesPatch(what, what, before, after, "stored", file, { headerOptions: FILE_HEADERS_ONLY })
      : ""
    items.push({ kind, name, different: changed, ...(changed ? { diff: patch } : {}) })
    if (!context.json) await print(context.io.stdout, patch)
  }
  const different = items.some((item) => item.different)
  if (context.json) await context.show({ different, items }, () => "")
  return different ? exitCodes.negative : exitCodes.ok
}
