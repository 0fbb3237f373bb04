/** Makes the order that a node gets, from the document, the run's parameters and the node. Pure. */
import {
  agentLimits,
  type CommandOrder,
  type StepOrder,
  type TaskOrder,
} from "@signalbox/contracts/fleet/agent-protocol"
import type { WorkflowDocument, WorkflowStep } from "@signalbox/contracts/workflows/document"
import { bytesOf, type CommandText } from "@signalbox/contracts/workflows/steps"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { getDuration } from "@signalbox/kernel/duration"
import { templateTexts } from "./document-check.ts"
import type { ParameterValues } from "./parameters.ts"
import { renderShell } from "./shell-template.ts"
import { fillTemplate, parseTemplate, variableOf, type Reference, type TemplatePart } from "./template.ts"

export interface OrderNode {
  readonly id: string
  readonly name: string
  /** Those that templates name; absent where none does. */
  readonly tags?: Readonly<Record<string, string>> | null
}

export interface OrderBuilder {
  /** The tags that the document's templates name. */
  readonly tagKeys: readonly string[]
  /** @throws workflows.invalid-template where the node lacks a tag, or a path or the order is not possible */
  build(node: OrderNode): TaskOrder
}

/** Frames may have 4 MiB; some of it is for the envelope and for escapes. */
const orderLengthMax = 3 * 1024 * 1024

type ValueOf = (reference: Reference) => string
type Fill<T> = (valueOf: ValueOf) => T

/** Prepares everything that doesn't depend on the node, once for a run. */
export function createOrderBuilder(document: WorkflowDocument, parameters: ParameterValues): OrderBuilder {
  const references = templateTexts(document)
    .flatMap(({ text }) => parseTemplate(text))
    .filter((part): part is Reference => typeof part !== "string")
  const tagKeys = [...new Set(references.flatMap((reference) => (reference.kind === "tag" ? [reference.key] : [])))]
  const shared: Record<string, string> = {}
  for (const [name, value] of Object.entries(parameters))
    shared[variableOf({ kind: "parameter", name })] = String(value)
  const save = document.save.map((text) => pathFiller(text))
  const steps = document.steps.map((step, index) => stepFiller({ document, step, index, shared, tagKeys }))
  const timeoutMilliseconds = Math.max(1, getDuration(document.timeout))
  if (references.length === 0) {
    const fixedSave = save.map((fill) => fill(noValue))
    return {
      tagKeys,
      build: (node) => ({
        save: fixedSave,
        steps: steps.map((fill) => fill(valuesOf(parameters, node))),
        timeoutMilliseconds,
      }),
    }
  }
  return {
    tagKeys,
    build(node) {
      const valueOf = valuesOf(parameters, node)
      const order = {
        save: save.map((fill) => fill(valueOf)),
        steps: steps.map((fill) => fill(valueOf)),
        timeoutMilliseconds,
      }
      if (JSON.stringify(order).length > orderLengthMax)
        throw new AppError(
          "workflows.invalid-template",
          `the order for ${node.name} is longer than ${orderLengthMax} characters`,
        )
      return order
    },
  }
}

function noValue(): never {
  throw new AppError("workflows.invalid-template", "a text without templates asked for a value")
}

function valuesOf(parameters: ParameterValues, node: OrderNode): ValueOf {
  return (reference) => {
    switch (reference.kind) {
      case "parameter":
        return String(parameters[reference.name] ?? "")
      case "node":
        return node[reference.field]
      case "tag": {
        const value = node.tags?.[reference.key]
        if (value !== undefined) return value
        throw new AppError("workflows.invalid-template", `node ${node.name} has no tag "${reference.key}"`)
      }
    }
  }
}

interface StepPlace {
  readonly document: WorkflowDocument
  readonly step: WorkflowStep
  readonly index: number
  readonly shared: Readonly<Record<string, string>>
  readonly tagKeys: readonly string[]
}

function stepFiller({ document, step, index, shared, tagKeys }: StepPlace): Fill<StepOrder> {
  assert(step.run !== undefined, "a document is checked before its orders are made")
  const run = commandFiller(step.run)
  const undo = isCommand(step.undo) ? commandFiller(step.undo) : undefined
  const directory = step.directory === undefined ? undefined : pathFiller(step.directory)
  const own = Object.entries(step.env ?? {}).map(([name, value]) => [name, parseTemplate(String(value))] as const)
  const fixed = {
    name: step.name ?? `step ${index + 1}`,
    timeoutMilliseconds: Math.max(1, getDuration(step.timeout ?? document.timeout)),
    outputKeptBytes: step.outputLimit === undefined ? agentLimits.outputKeptBytesDefault : bytesOf(step.outputLimit),
    attemptsMax: step.retry?.attempts ?? 1,
    retryDelayMilliseconds: getDuration(step.retry?.delay ?? "0s"),
    ...(step.user === undefined ? {} : { user: step.user }),
  }
  return (valueOf) => ({
    ...fixed,
    command: run(valueOf),
    ...(undo && { undo: undo(valueOf) }),
    ...(directory && { directory: directory(valueOf) }),
    environment: { ...shared, ...nodeEnvironment(valueOf, tagKeys), ...fillEnvironment(own, valueOf) },
  })
}

function nodeEnvironment(valueOf: ValueOf, tagKeys: readonly string[]): Record<string, string> {
  const environment: Record<string, string> = {}
  const references: Reference[] = [
    { kind: "node", field: "id" },
    { kind: "node", field: "name" },
    ...tagKeys.map((key) => ({ kind: "tag", key }) as const),
  ]
  for (const reference of references) environment[variableOf(reference)] = valueOf(reference)
  return environment
}

function fillEnvironment(
  own: ReadonlyArray<readonly [string, readonly TemplatePart[]]>,
  valueOf: ValueOf,
): Record<string, string> {
  return Object.fromEntries(own.map(([name, parts]) => [name, fillTemplate(parts, valueOf)]))
}

function isCommand(undo: WorkflowStep["undo"]): undo is CommandText {
  return typeof undo === "string" || Array.isArray(undo)
}

function commandFiller(command: CommandText): Fill<CommandOrder> {
  if (typeof command === "string") {
    const shell = renderShell(parseTemplate(command))
    return () => ({ shell })
  }
  const words = command.map((word) => parseTemplate(word))
  return (valueOf) => ({ argv: words.map((parts) => fillTemplate(parts, valueOf)) })
}

/** A path within the node's root: `/etc/x` is `etc/x` there. */
function pathFiller(text: string): Fill<string> {
  const parts = parseTemplate(text)
  return (valueOf) => {
    const path = fillTemplate(parts, valueOf).replace(/^\/+/, "")
    if (path.split("/").includes("..") || path.includes("\0"))
      throw new AppError("workflows.invalid-template", `the path "${path.slice(0, 200)}" leads upwards`)
    return path === "" ? "." : path
  }
}
