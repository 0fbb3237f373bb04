/** Where in a workflow document templates may stand. Pure. */
import type { WorkflowDocument, WorkflowStep } from "@signalbox/contracts/workflows/document"
import type {
  ApprovalAsk,
  CommandText,
  HttpCall,
  Playbook,
  StepUndo,
  WaitFor,
} from "@signalbox/contracts/workflows/steps"
import type { FaultPath } from "./document-fault.ts"

/**
 * `shell`: text for a shell. `word`: any text. `fixed`: what is settled at the plan, so without secrets and outputs.
 * `shown`: what people read, so without secrets. `shared`: what is the same for all targets, so parameters alone.
 */
export type TemplatePlace = "shell" | "word" | "fixed" | "shown" | "shared"

export interface TemplateText {
  readonly path: FaultPath
  readonly text: string
  readonly place: TemplatePlace
  /** The step whose text this is, where it is one's. */
  readonly step?: number
}

/** All texts of a document in which a template may stand. */
export function templateTexts(document: WorkflowDocument): TemplateText[] {
  return [
    ...document.save.map((text, index): TemplateText => ({ path: ["save", index], text, place: "fixed" })),
    ...document.steps.flatMap((step, index) =>
      stepTexts(["steps", index], step).map((found): TemplateText => ({ ...found, step: index })),
    ),
  ]
}

function stepTexts(path: FaultPath, step: WorkflowStep): TemplateText[] {
  const { undo } = step
  return [
    ...commandTexts([...path, "run"], step.run),
    ...commandTexts([...path, "undo"], isCommand(undo) ? undo : undefined),
    ...texts("fixed", [...path, "directory"], step.directory),
    ...recordTexts([...path, "env"], step.env ?? {}),
    ...texts("fixed", [...path, "file", "path"], step.file?.path),
    ...texts("word", [...path, "file", "content"], step.file?.literal ? undefined : step.file?.content),
    ...texts("fixed", [...path, "file", "artifact"], step.file?.artifact),
    ...texts("fixed", [...path, "service", "name"], step.service?.name),
    ...waitTexts([...path, "wait"], step.wait),
    ...httpTexts([...path, "http"], step.http),
    ...jsonTexts([...path, "operation", "input"], step.operation?.input),
    ...playbookTexts([...path, "playbook"], step.playbook),
    ...approvalTexts([...path, "approval"], step.approval),
    ...undoTexts([...path, "undo"], undo),
  ]
}

function undoTexts(path: FaultPath, undo: StepUndo | undefined): TemplateText[] {
  if (undo === undefined || isCommand(undo)) return []
  if ("http" in undo) return httpTexts([...path, "http"], undo.http)
  if ("playbook" in undo) return playbookTexts([...path, "playbook"], undo.playbook)
  return jsonTexts([...path, "operation", "input"], undo.operation.input)
}

function texts(place: TemplatePlace, path: FaultPath, text: string | undefined): TemplateText[] {
  return text === undefined ? [] : [{ path, text, place }]
}

function recordTexts(path: FaultPath, record: Readonly<Record<string, string | number | boolean>>): TemplateText[] {
  return Object.entries(record).flatMap(([name, text]) => texts("word", [...path, name], String(text)))
}

function waitTexts(path: FaultPath, wait: WaitFor | undefined): TemplateText[] {
  if (wait === undefined || typeof wait === "string") return []
  if ("path" in wait) return texts("fixed", [...path, "path"], wait.path)
  return [...texts("word", [...path, "port"], String(wait.port)), ...texts("fixed", [...path, "host"], wait.host)]
}

function httpTexts(path: FaultPath, call: HttpCall | undefined): TemplateText[] {
  if (call === undefined) return []
  return [
    ...texts("word", [...path, "url"], call.url),
    ...recordTexts([...path, "headers"], call.headers),
    ...texts("word", [...path, "body"], call.body),
  ]
}

function playbookTexts(path: FaultPath, playbook: Playbook | undefined): TemplateText[] {
  if (playbook === undefined) return []
  return [
    ...texts("fixed", [...path, "path"], playbook.path),
    ...recordTexts([...path, "variables"], playbook.variables),
  ]
}

function approvalTexts(path: FaultPath, approval: ApprovalAsk | undefined): TemplateText[] {
  if (approval === undefined) return []
  const place = approval.scope === "execution" ? "shared" : "shown"
  return [...texts(place, [...path, "title"], approval.title), ...texts(place, [...path, "message"], approval.message)]
}

/** The texts anywhere within a JSON value. */
function jsonTexts(path: FaultPath, value: unknown): TemplateText[] {
  if (typeof value === "string") return texts("word", path, value)
  if (typeof value !== "object" || value === null) return []
  return Object.entries(value).flatMap(([name, member]) =>
    jsonTexts([...path, Array.isArray(value) ? Number(name) : name], member),
  )
}

export function isCommand(undo: StepUndo | undefined): undo is CommandText {
  return typeof undo === "string" || Array.isArray(undo)
}

function commandTexts(path: FaultPath, command: CommandText | undefined): TemplateText[] {
  if (command === undefined) return []
  if (typeof command === "string") return texts("shell", path, command)
  return command.flatMap((text, index) => texts("word", [...path, index], text))
}
