/** Makes the order that a node gets, from the document, the run's parameters and the node. Pure. */
import type { TaskOrder } from "@signalbox/contracts/fleet/agent-protocol"
import type { WorkflowDocument } from "@signalbox/contracts/workflows/document"
import { getStepKind, serverStepKinds } from "@signalbox/contracts/workflows/steps"
import { AppError } from "@signalbox/kernel/app-error"
import { getDuration } from "@signalbox/kernel/duration"
import { tagsNamed } from "./conditions.ts"
import { templateTexts, type TemplateText } from "./document-texts.ts"
import { pathFiller, type ValueOf } from "./order-texts.ts"
import type { ParameterValues } from "../../parameters/parameter-values.ts"
import { stepFiller, type FrozenArtifact } from "./step-order.ts"
import { parseTemplate, variableOf, type Reference } from "./template.ts"

export interface OrderNode {
  readonly id: string
  readonly name: string
  /** Those that templates and conditions name; absent where none does. */
  readonly tags?: Readonly<Record<string, string>> | null
}

export interface OrderBuilderOptions {
  /** Files that steps put, by the text that names them. */
  readonly artifacts?: Readonly<Record<string, FrozenArtifact>> | undefined
  /** How long nodes keep what a rollback of a succeeded task needs. */
  readonly keepMilliseconds?: number | undefined
}

export interface OrderBuilder {
  /** The tags that the document's templates name: a node without one of them is no target. */
  readonly tagKeys: readonly string[]
  /** The tags that conditions name, which a node may lack. */
  readonly optionalTagKeys: readonly string[]
  /** Something in it needs an agent: all but steps of the server and plain waits. */
  readonly needsAgent: boolean
  /** The secrets whose values nodes need; those of calls that the server makes are not among them. */
  readonly secretNames: readonly string[]
  /** @throws workflows.invalid-template where the node lacks a tag, or a path or the order is not possible */
  build(node: OrderNode): TaskOrder
}

/** Frames may have 4 MiB; some of it is for the envelope and for escapes. */
const orderLengthMax = 3 * 1024 * 1024

/** Prepares everything that doesn't depend on the node, once for a run. */
export function createOrderBuilder(
  document: WorkflowDocument,
  parameters: ParameterValues,
  options: OrderBuilderOptions = {},
): OrderBuilder {
  const tagKeys = distinct(referencesOf(templateTexts(document)), "tag", ({ key }) => key)
  const conditions = document.steps.flatMap(({ when }) => when ?? [])
  const optionalTagKeys = [...new Set(conditions.flatMap(tagsNamed))].filter((key) => !tagKeys.includes(key))
  const shared: Record<string, string> = {}
  for (const [name, value] of Object.entries(parameters))
    shared[variableOf({ kind: "parameter", name })] = String(value)
  const save = document.save.map((text) => pathFiller(text))
  const { artifacts } = options
  const steps = document.steps.map((step, index) => stepFiller({ document, step, index, shared, tagKeys, artifacts }))
  const fixed = {
    timeoutMilliseconds: Math.max(1, getDuration(document.timeout)),
    ...(document.exclusive ? {} : { exclusive: false as const }),
    ...(document.restore === "whole" ? { whole: true as const } : {}),
    ...(options.keepMilliseconds === undefined ? {} : { keepMilliseconds: options.keepMilliseconds }),
  }
  return {
    tagKeys,
    optionalTagKeys,
    needsAgent: needsAgent(document),
    secretNames: secretNamesOf(document),
    build(node) {
      const valueOf = valuesOf(parameters, node)
      const { id, name, tags } = node
      const order = {
        save: save.map((fill) => fill(valueOf)),
        steps: steps.map((fill) => fill(valueOf)),
        ...fixed,
        ...(conditions.length > 0 && { facts: { params: { ...parameters }, node: { id, name, tags: { ...tags } } } }),
      }
      if (orderLength(order) > orderLengthMax)
        throw new AppError(
          "workflows.invalid-template",
          `the order for ${node.name} is longer than ${orderLengthMax} characters`,
        )
      return order
    },
  }
}

/** A bound from below that costs little: the length of its JSON is only taken where it could be too much. */
function orderLength(order: TaskOrder): number {
  let length = 0
  for (const step of order.steps) {
    for (const text of Object.values(step.environment)) length += text.length
    if (step.file ?? step.playbook ?? step.command) length += 64
  }
  return length > orderLengthMax / 8 || order.steps.some(isLong) ? JSON.stringify(order).length : length
}

const longText = 32 * 1024

function isLong({ command, file, playbook }: TaskOrder["steps"][number]): boolean {
  const words = command && "argv" in command ? command.argv.length : 0
  const shell = command && "shell" in command ? command.shell.length : 0
  return words > 100 || shell + (file?.content?.length ?? 0) + (playbook?.content?.length ?? 0) > longText
}

function referencesOf(texts: readonly TemplateText[]): Reference[] {
  return texts.flatMap(({ text }) => parseTemplate(text)).filter((part): part is Reference => typeof part !== "string")
}

function distinct<K extends Reference["kind"]>(
  references: readonly Reference[],
  kind: K,
  nameOf: (reference: Extract<Reference, { kind: K }>) => string,
): string[] {
  const found = references.filter((reference): reference is Extract<Reference, { kind: K }> => reference.kind === kind)
  return [...new Set(found.map(nameOf))]
}

/** What nodes need: what stands in a step that the server performs, or in such an undo, never leaves it. */
export function secretNamesOf(document: WorkflowDocument): string[] {
  const onNode = templateTexts(document).filter(({ step, path }) => {
    const its = step === undefined ? undefined : document.steps[step]
    if (its === undefined) return true
    if (path[2] !== "undo") return !serverStepKinds.has(getStepKind(its))
    return path[3] !== "http" && path[3] !== "operation"
  })
  return distinct(referencesOf(onNode), "secret", ({ name }) => name)
}

function needsAgent({ steps, save, restore }: WorkflowDocument): boolean {
  if (save.length > 0 || restore === "whole") return true
  return steps.some((step) => !serverStepKinds.has(getStepKind(step)) && typeof step.wait !== "string")
}

export function valuesOf(parameters: ParameterValues, node: OrderNode): ValueOf {
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
