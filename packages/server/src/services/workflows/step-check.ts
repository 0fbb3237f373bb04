/** What a schema can't say of a document's steps: members that belong to other kinds, names, templates, conditions. Pure. */
import type { WorkflowDocument, WorkflowStep } from "@signalbox/contracts/workflows/document"
import { getStepKind, type CommandText, type StepKind } from "@signalbox/contracts/workflows/steps"
import { compileExpression } from "@signalbox/expressions/compile-expression"
import { isAppError } from "@signalbox/kernel/app-error"
import { formatDuration, getDuration } from "@signalbox/kernel/duration"
import { approvalWaitLimits } from "./approval-ask.ts"
import { conditionVariables, outputVariables } from "./conditions.ts"
import type { Fault, FaultPath } from "./document-fault.ts"
import { isCommand, templateTexts, type TemplatePlace, type TemplateText } from "./document-texts.ts"
import { renderShell } from "./shell-template.ts"
import { isLate, parseTemplate, variableOf, type Reference } from "./template.ts"

export function findStepFaults(document: WorkflowDocument): Fault[] {
  return [
    ...document.steps.flatMap((step, index) => [
      ...shellArgumentFaults(["steps", index, "run"], step.run),
      ...shellArgumentFaults(["steps", index, "undo"], isCommand(step.undo) ? step.undo : undefined),
      ...memberFaults(["steps", index], step),
      ...expressionFaults(["steps", index], step),
    ]),
    ...stepIdFaults(document),
    ...templateFaults(document),
  ]
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

/** Kinds that run programs of the author on the node, with an environment, a directory and a user of their own. */
const processKinds: ReadonlySet<StepKind> = new Set<StepKind>(["run", "playbook"])
/** Kinds that know their own way back, or that change nothing. */
const withoutUndo: Partial<Record<StepKind, string>> = {
  file: "a file is put back by itself",
  service: "a service's state is brought back by itself",
  wait: "a wait changes nothing",
  approval: "an approval changes nothing",
}

function memberFaults(path: FaultPath, step: WorkflowStep): Fault[] {
  const kind = getStepKind(step)
  const faults: Fault[] = []
  const add = (member: string, message: string): void =>
    void faults.push({ path: [...path, member], message, kind: "document" })
  if (!processKinds.has(kind)) {
    for (const member of ["env", "directory", "user"] as const)
      if (step[member] !== undefined) add(member, `goes with run and playbook, not with ${kind}`)
  }
  const way = withoutUndo[kind]
  if (way !== undefined && step.undo !== undefined) add("undo", `isn't needed: ${way}`)
  if (kind === "wait" && step.outputLimit !== undefined) add("outputLimit", "a wait has no output")
  return kind === "approval" ? [...faults, ...approvalFaults(path, step)] : faults
}

function approvalFaults(path: FaultPath, step: WorkflowStep): Fault[] {
  const faults: Fault[] = []
  const add = (member: string, message: string): void =>
    void faults.push({ path: [...path, member], message, kind: "document" })
  if (step.retry !== undefined) add("retry", "people are asked once")
  if (step.outputLimit !== undefined) add("outputLimit", "an approval has no output")
  const { millisecondsMax } = approvalWaitLimits
  if (step.timeout !== undefined && getDuration(step.timeout) > millisecondsMax)
    add("timeout", `an approval is waited for ${formatDuration(millisecondsMax)} at most`)
  return faults
}

function expressionFaults(path: FaultPath, step: WorkflowStep): Fault[] {
  const faults: Fault[] = []
  const check = (at: FaultPath, text: string, options: Parameters<typeof compileExpression>[1]): void => {
    try {
      compileExpression(text, options)
    } catch (error) {
      if (!isAppError(error)) throw error
      faults.push({ path: [...path, ...at], message: error.message, kind: "document" })
    }
  }
  if (step.when !== undefined) check(["when"], step.when, { variables: conditionVariables, resultType: "bool" })
  for (const [name, text] of Object.entries(step.outputs ?? {}))
    check(["outputs", name], text, { variables: outputVariables, resultType: "any" })
  return faults
}

function stepIdFaults({ steps }: WorkflowDocument): Fault[] {
  const seen = new Set<string>()
  return steps.flatMap(({ id }, index): Fault[] => {
    if (id === undefined) return []
    const repeated = seen.has(id)
    seen.add(id)
    return repeated
      ? [{ path: ["steps", index, "id"], message: `another step has the id "${id}" already`, kind: "document" }]
      : []
  })
}

function templateFaults(document: WorkflowDocument): Fault[] {
  const names = new Map<string, string>()
  return templateTexts(document).flatMap((text): Fault[] => {
    const message = findTemplateFault(document, names, text)
    return message === undefined ? [] : [{ path: text.path, message, kind: "template" }]
  })
}

function findTemplateFault(
  document: WorkflowDocument,
  names: Map<string, string>,
  { text, place, step }: TemplateText,
): string | undefined {
  try {
    const parts = parseTemplate(text)
    for (const part of parts) {
      if (typeof part === "string") continue
      const misplaced = findPlaceFault(place, part)
      if (misplaced !== undefined) return misplaced
      const fault = findReferenceFault(document, part, step) ?? findNameFault(names, part)
      if (fault !== undefined) return fault
    }
    if (place === "shell") renderShell(parts)
    return undefined
  } catch (error) {
    if (isAppError(error)) return error.message
    throw error
  }
}

function findPlaceFault(place: TemplatePlace, part: Reference): string | undefined {
  const what = part.kind === "secret" ? "a secret" : "an output of a step"
  if (place === "fixed" && isLate(part)) return `${what} can't stand here: this is settled at the plan`
  if (place === "shown" && part.kind === "secret") return "a secret can't stand here: people read this"
  if (place === "shared" && part.kind !== "parameter")
    return "this is asked once for all targets: name parameters alone, or write `scope: task`"
  return undefined
}

/** An unknown parameter, or a step that does not come before. */
function findReferenceFault(
  { parameters, steps }: WorkflowDocument,
  reference: Reference,
  at: number | undefined,
): string | undefined {
  if (reference.kind === "parameter" && !Object.hasOwn(parameters, reference.name))
    return `there is no parameter "${reference.name}" in this workflow`
  if (reference.kind !== "output") return undefined
  const named = steps.findIndex(({ id }) => id === reference.step)
  if (named === -1) return `no step has the id "${reference.step}"`
  return at !== undefined && named >= at ? `step "${reference.step}" does not come before this one` : undefined
}

/** Two names, such as of tags, that would have one environment variable. */
function findNameFault(names: Map<string, string>, reference: Reference): string | undefined {
  const name = nameOf(reference)
  if (name === undefined) return undefined
  const variable = variableOf(reference)
  const other = names.get(variable) ?? name
  names.set(variable, other)
  return other === name ? undefined : `the names ${other} and ${name} would both be ${variable}`
}

function nameOf(reference: Reference): string | undefined {
  switch (reference.kind) {
    case "tag":
      return `node.tags.${reference.key}`
    case "secret":
      return `secrets.${reference.name}`
    case "output":
      return `steps.${reference.step}.outputs.${reference.name}`
    case "parameter":
    case "node":
      return undefined
  }
}
