import type { Text } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"

/** What a template names and the plan knows. */
export type KnownReference =
  | { readonly kind: "parameter"; readonly name: string }
  | { readonly kind: "node"; readonly field: "name" | "id" }
  | { readonly kind: "tag"; readonly key: string }

/** What a template names and only the node knows, at the time: a secret's value, an output of an earlier step. */
export type LateReference =
  | { readonly kind: "secret"; readonly name: string }
  | { readonly kind: "output"; readonly step: string; readonly name: string }

export type Reference = KnownReference | LateReference

export function isLate(reference: Reference): reference is LateReference {
  return reference.kind === "secret" || reference.kind === "output"
}

export type TemplatePart = string | Reference

const opening = "${{"
const closing = "}}"
const referenceLengthMax = 200

/** Literal text and references, in order. @throws workflows.invalid-template */
export function parseTemplate(text: string): TemplatePart[] {
  const parts: TemplatePart[] = []
  let rest = 0
  for (let start = text.indexOf(opening); start !== -1; start = text.indexOf(opening, rest)) {
    const end = text.indexOf(closing, start)
    if (end === -1 || end - start > referenceLengthMax)
      throw new AppError("workflows.invalid-template", `a template is opened with ${opening} and never closed with }}`)
    if (start > rest) parts.push(text.slice(rest, start))
    parts.push(parseReference(text.slice(start + opening.length, end).trim()))
    rest = end + closing.length
  }
  if (rest < text.length) parts.push(text.slice(rest))
  return parts
}

function parseReference(text: string): Reference {
  const parameter = /^params\.([a-z][a-z0-9_]*)$/.exec(text)
  if (parameter?.[1] !== undefined) return { kind: "parameter", name: parameter[1] }
  if (text === "node.name" || text === "node.id") return { kind: "node", field: text === "node.id" ? "id" : "name" }
  const tag = /^node\.tags\.([a-zA-Z][a-zA-Z0-9._/-]*)$/.exec(text)
  if (tag?.[1] !== undefined) return { kind: "tag", key: tag[1] }
  const secret = /^secrets\.([a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?)$/.exec(text)
  if (secret?.[1] !== undefined) return { kind: "secret", name: secret[1] }
  const output = /^steps\.([a-z][a-z0-9_]{0,31})\.outputs\.([a-z][a-z0-9_]{0,62})$/.exec(text)
  if (output?.[1] !== undefined) return { kind: "output", step: output[1], name: output[2] ?? "" }
  throw new AppError(
    "workflows.invalid-template",
    `"\${{ ${text} }}" names nothing; use params.NAME, node.name, node.id, node.tags.KEY, secrets.NAME or steps.ID.outputs.KEY`,
  )
}

/** The environment variable in which a command finds the value; where two come to the same name the document is refused. */
export function variableOf(reference: Reference): string {
  switch (reference.kind) {
    case "parameter":
      return `SIGNALBOX_PARAM_${reference.name.toUpperCase()}`
    case "node":
      return `SIGNALBOX_NODE_${reference.field.toUpperCase()}`
    case "tag":
      return `SIGNALBOX_TAG_${variableText(reference.key)}`
    case "secret":
      return `SIGNALBOX_SECRET_${variableText(reference.name)}`
    case "output":
      return `SIGNALBOX_STEP_${variableText(reference.step)}__${variableText(reference.name)}`
  }
}

function variableText(name: string): string {
  return name.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")
}

type KnownValueOf = (reference: KnownReference) => string

/** The text with each reference replaced by its value. Not for shell text: see `shell-template.ts`. */
export function fillTemplate(parts: readonly TemplatePart[], valueOf: KnownValueOf): string {
  return parts
    .map((part) => {
      if (typeof part === "string") return part
      if (!isLate(part)) return valueOf(part)
      throw new AppError("workflows.invalid-template", "a secret or an output of a step can't stand here")
    })
    .join("")
}

/** As `fillTemplate`, with secrets and outputs left for the node to fill in. */
export function fillText(parts: readonly TemplatePart[], valueOf: KnownValueOf): Text {
  if (!parts.some((part) => typeof part !== "string" && isLate(part))) return fillTemplate(parts, valueOf)
  return parts.map((part) => {
    if (typeof part === "string") return part
    if (part.kind === "secret") return { secret: part.name }
    if (part.kind === "output") return { step: part.step, output: part.name }
    return valueOf(part)
  })
}
