/** What a schema can't say of a workflow document: templates that name something, patterns that are patterns. Pure. */
import type { ParameterDeclaration, WorkflowDocument, WorkflowStep } from "@signalbox/contracts/workflows/document"
import type { CommandText } from "@signalbox/contracts/workflows/steps"
import { isAppError } from "@signalbox/kernel/app-error"
import { compilePattern, findValueFault } from "./parameters.ts"
import { renderShell } from "./shell-template.ts"
import { parseTemplate, variableOf, type Reference } from "./template.ts"

export type FaultPath = ReadonlyArray<string | number>
export interface Fault {
  readonly path: FaultPath
  readonly message: string
  readonly kind: "document" | "template"
}

export interface TemplateText {
  readonly path: FaultPath
  readonly text: string
  readonly place: "shell" | "word"
}

/** All texts of a document in which a template may stand. */
export function templateTexts(document: WorkflowDocument): TemplateText[] {
  const word = (path: FaultPath, text: string): TemplateText => ({ path, text, place: "word" })
  const save = document.save.map((text, index) => word(["save", index], text))
  const steps = document.steps.flatMap((step, index) => {
    const path = ["steps", index]
    return [
      ...commandTexts([...path, "run"], step.run),
      ...commandTexts([...path, "undo"], isCommand(step.undo) ? step.undo : undefined),
      ...(step.directory === undefined ? [] : [word([...path, "directory"], step.directory)]),
      ...Object.entries(step.env ?? {}).map(([name, value]) => word([...path, "env", name], String(value))),
    ]
  })
  return [...save, ...steps]
}

function isCommand(undo: WorkflowStep["undo"]): undo is CommandText {
  return typeof undo === "string" || Array.isArray(undo)
}

function commandTexts(path: FaultPath, command: CommandText | undefined): TemplateText[] {
  if (command === undefined) return []
  if (typeof command === "string") return [{ path, text: command, place: "shell" }]
  return command.map((text, index) => ({ path: [...path, index], text, place: "word" }))
}

export function findDocumentFaults(document: WorkflowDocument): Fault[] {
  return [
    ...Object.entries(document.parameters).flatMap(([name, declaration]) => parameterFaults(name, declaration)),
    ...document.steps.flatMap((step, index) => [
      ...shellArgumentFaults(["steps", index, "run"], step.run),
      ...shellArgumentFaults(["steps", index, "undo"], isCommand(step.undo) ? step.undo : undefined),
      ...(step.run === undefined
        ? [{ path: ["steps", index], message: "this kind of step can't be run yet", kind: "document" } as const]
        : []),
    ]),
    ...templateFaults(document),
  ]
}

function parameterFaults(name: string, declaration: ParameterDeclaration): Fault[] {
  const path = ["parameters", name]
  const faults: Fault[] = []
  const add = (field: string, message: string): void =>
    void faults.push({ path: [...path, field], message, kind: "document" })
  const isText = declaration.type === "string"
  const isNumber = declaration.type === "integer" || declaration.type === "number"
  if (declaration.pattern !== undefined) {
    if (!isText) add("pattern", "is for strings only")
    else if (!compilePattern(declaration.pattern)) add("pattern", "is not a regular expression in RE2 syntax")
  }
  if (declaration.lengthMax !== undefined && !isText) add("lengthMax", "is for strings only")
  if (declaration.min !== undefined && !isNumber) add("min", "is for integers and numbers only")
  if (declaration.max !== undefined && !isNumber) add("max", "is for integers and numbers only")
  if (declaration.required === true && declaration.default !== undefined)
    add("required", "a parameter with a default is never missing")
  if (faults.length > 0) return faults
  const { enum: choices, ...rest } = declaration
  for (const choice of choices ?? []) {
    const fault = findValueFault(rest, choice)
    if (fault !== undefined) add("enum", `${String(choice)} ${fault}`)
  }
  const fault = declaration.default === undefined ? undefined : findValueFault(declaration, declaration.default)
  if (fault !== undefined) add("default", fault)
  return faults
}

const shells = new Set(["sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"])

/** A word that a shell in a list command would parse is shell text without our quoting, so a template can't stand in it. */
function shellArgumentFaults(path: FaultPath, command: CommandText | undefined): Fault[] {
  if (!Array.isArray(command)) return []
  const [first = "", ...words] = command
  const usesShell = shells.has(first.slice(first.lastIndexOf("/") + 1)) || first.endsWith("/env") || first === "env"
  const flag = words.findIndex((text) => /^-[a-zA-Z]*c$/.test(text))
  if (!usesShell || flag === -1 || !words[flag + 1]?.includes("${{")) return []
  const message = "a template can't stand in a script given to a shell in a list; write `run` as a text"
  return [{ path: [...path, flag + 2], message, kind: "template" }]
}

function templateFaults(document: WorkflowDocument): Fault[] {
  const faults: Fault[] = []
  const names = new Map<string, string>()
  for (const { path, text, place } of templateTexts(document)) {
    const fault = findTemplateFault(document, names, { text, place })
    if (fault !== undefined) faults.push({ path, message: fault, kind: "template" })
  }
  return faults
}

function findTemplateFault(
  document: WorkflowDocument,
  names: Map<string, string>,
  { text, place }: { readonly text: string; readonly place: "shell" | "word" },
): string | undefined {
  try {
    const parts = parseTemplate(text)
    for (const part of parts) {
      const fault = typeof part === "string" ? undefined : findReferenceFault(document, names, part)
      if (fault !== undefined) return fault
    }
    if (place === "shell") renderShell(parts)
    return undefined
  } catch (error) {
    if (isAppError(error)) return error.message
    throw error
  }
}

/** An unknown parameter, or two tags that would have one environment variable. */
function findReferenceFault(
  { parameters }: WorkflowDocument,
  names: Map<string, string>,
  reference: Reference,
): string | undefined {
  if (reference.kind === "parameter" && !Object.hasOwn(parameters, reference.name))
    return `there is no parameter "${reference.name}" in this workflow`
  if (reference.kind !== "tag") return undefined
  const variable = variableOf(reference)
  const other = names.get(variable) ?? reference.key
  names.set(variable, other)
  return other === reference.key ? undefined : `the tags ${other} and ${reference.key} would both be ${variable}`
}
