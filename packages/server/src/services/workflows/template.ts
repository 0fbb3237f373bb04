import { AppError } from "@signalbox/kernel/app-error"

/** What a template names. */
export type Reference =
  | { readonly kind: "parameter"; readonly name: string }
  | { readonly kind: "node"; readonly field: "name" | "id" }
  | { readonly kind: "tag"; readonly key: string }

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
  throw new AppError(
    "workflows.invalid-template",
    `"\${{ ${text} }}" names nothing; use params.NAME, node.name, node.id or node.tags.KEY`,
  )
}

/** The environment variable in which a command finds the value; two tags may come to the same name (`checkNames` refuses). */
export function variableOf(reference: Reference): string {
  switch (reference.kind) {
    case "parameter":
      return `SIGNALBOX_PARAM_${reference.name.toUpperCase()}`
    case "node":
      return `SIGNALBOX_NODE_${reference.field.toUpperCase()}`
    case "tag":
      return `SIGNALBOX_TAG_${reference.key.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")}`
  }
}

/** The text with each reference replaced by its value. Not for shell text: see `shell-template.ts`. */
export function fillTemplate(parts: readonly TemplatePart[], valueOf: (reference: Reference) => string): string {
  return parts.map((part) => (typeof part === "string" ? part : valueOf(part))).join("")
}
