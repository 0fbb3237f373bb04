/**
 * What every node of a run does, said once: an order with placeholders where a node's own values stand. Whoever approves
 * reads it; a node puts its values in and compares. Pure.
 */
import type { ProvenTarget } from "@signalbox/contracts/approvals/signed-votes"
import { canonicalJson } from "@signalbox/kernel/canonical-json"

const opening = "‹"
const closing = "›"

/** How often the brackets have to be doubled so that no placeholder can be taken for a text of these. */
export function bracketsFor(texts: string): number {
  const runs = texts.match(/‹+|›+/g) ?? []
  return runs.reduce((most, run) => Math.max(most, run.length), 0) + 1
}

/** A node whose values are placeholders. */
export function placeholderNode(
  brackets: number,
  tagKeys: readonly string[],
): { id: string; name: string; tags: Record<string, string> } {
  const mark = (name: string): string => `${opening.repeat(brackets)}${name}${closing.repeat(brackets)}`
  const tags = Object.fromEntries(tagKeys.map((key) => [key, mark(`node.tags.${key}`)]))
  return { id: mark("node.id"), name: mark("node.name"), tags }
}

/**
 * Where an order is not the template with the node's values in it: the path of the first difference, such as
 * `steps.0.command.shell`; undefined where it is.
 */
export function findDifference(
  template: object,
  order: object,
  { brackets, target }: { readonly brackets: number; readonly target: ProvenTarget },
): string | undefined {
  const filled = fillAll(template, valuesOf(brackets, target)) as Readonly<Record<string, unknown>>
  const facts = isRecord(filled["facts"]) ? { facts: { ...filled["facts"], node: nodeFacts(target) } } : {}
  return differenceAt([], { ...filled, ...facts }, order)
}

const nodeFacts = ({ id, name, tags }: ProvenTarget) => ({ id, name, tags })

type Fill = (text: string) => string

function valuesOf(brackets: number, { id, name, tags }: ProvenTarget): Fill {
  const values = new Map([["node.id", id], ["node.name", name], ...Object.entries(tags).map(tagEntry)])
  const pattern = new RegExp(`${opening}{${brackets}}(node\\.[^${opening}${closing}]+)${closing}{${brackets}}`, "g")
  return (text) => text.replaceAll(pattern, (whole, key: string) => values.get(key) ?? whole)
}

const tagEntry = ([key, value]: [string, string]): [string, string] => [`node.tags.${key}`, value]

function fillAll(value: unknown, fill: Fill): unknown {
  if (typeof value === "string") return fill(value)
  if (Array.isArray(value)) return value.map((item) => fillAll(item, fill))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, fillAll(member, fill)]))
}

function differenceAt(path: readonly string[], expected: unknown, found: unknown): string | undefined {
  if (isRecord(expected) && isRecord(found) && Array.isArray(expected) === Array.isArray(found)) {
    for (const key of new Set([...Object.keys(expected), ...Object.keys(found)])) {
      const difference = differenceAt([...path, key], expected[key], found[key])
      if (difference !== undefined) return difference
    }
    return undefined
  }
  const isSame = expected === found || (isPath(path) && relative(expected) === relative(found))
  return isSame ? undefined : path.join(".") || "the order"
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null

/** Paths on a node: a value that begins with a slash stands for the same place as one without. */
function isPath([first, , ...rest]: readonly string[]): boolean {
  if (first === "save") return true
  const place = rest.join(".")
  return first === "steps" && (place === "directory" || /^(?:undo\.)?(?:file|wait|playbook)\.path$/.test(place))
}

function relative(path: unknown): unknown {
  return typeof path === "string" ? path.replace(/^\/+/, "") || "." : path
}

/** For a message: what was approved and what came, at a path of `findDifference`. */
export function shownAt(order: unknown, path: string): string {
  let value: unknown = order
  for (const key of path.split(".")) value = isRecord(value) ? value[key] : undefined
  const text = value === undefined ? "nothing" : canonicalJson(value)
  return text.length > 120 ? `${text.slice(0, 120)}…` : text
}
