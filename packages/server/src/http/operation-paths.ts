import type { AnyOperation } from "@signalbox/contracts/operation"
import { assert } from "@signalbox/kernel/assert"

/**
 * Finds the operation of a method and a path. Built once from the declarations: a tree of path segments whose leaves
 * hold the operations by method and verb (`/v1/keys/{key}:revoke`).
 */
export interface PathMatch {
  readonly operation: AnyOperation
  /** The fields that the path carries, decoded. */
  readonly fields: Readonly<Record<string, string>>
}

export interface OperationPaths {
  find(method: string, path: string): PathMatch | undefined
  /** Methods that the path knows, for the answer to a wrong one. */
  methods(path: string): string[]
}

interface PathNode {
  readonly literal: Map<string, PathNode>
  field?: PathNode
  /** `METHOD:verb` -> operation and the names of its path fields, in order. */
  readonly leaves: Map<string, { operation: AnyOperation; fields: readonly string[] }>
}

const segmentsMax = 12

export function makeOperationPaths(operations: Iterable<AnyOperation>): OperationPaths {
  const root = newNode()
  for (const operation of operations) add(root, operation)

  function walk(path: string): { node: PathNode; values: string[]; verb: string } | undefined {
    const colon = path.lastIndexOf(":")
    const withVerb =
      colon > path.lastIndexOf("/") ? { path: path.slice(0, colon), verb: path.slice(colon + 1) } : undefined
    for (const form of withVerb ? [withVerb, { path, verb: "" }] : [{ path, verb: "" }]) {
      const found = follow(root, form.path)
      if (found && [...found.node.leaves.keys()].some((leaf) => leaf.endsWith(`:${form.verb}`)))
        return { ...found, verb: form.verb }
    }
    return undefined
  }

  return {
    find(method, path) {
      const found = walk(path)
      const leaf = found?.node.leaves.get(`${method}:${found.verb}`)
      if (!found || !leaf) return undefined
      return {
        operation: leaf.operation,
        fields: Object.fromEntries(leaf.fields.map((name, index) => [name, found.values[index] ?? ""])),
      }
    },
    methods(path) {
      const found = walk(path)
      if (!found) return []
      return [...found.node.leaves.keys()]
        .filter((leaf) => leaf.endsWith(`:${found.verb}`))
        .map((leaf) => leaf.slice(0, leaf.indexOf(":")))
    },
  }
}

function newNode(): PathNode {
  return { literal: new Map(), leaves: new Map() }
}

function add(root: PathNode, operation: AnyOperation): void {
  const match = /^(.*?)(?::([a-z-]+))?$/.exec(operation.path)
  const [, path = "", verb = ""] = match ?? []
  const fields: string[] = []
  let node = root
  for (const segment of path.split("/").slice(1)) {
    const field = /^\{([a-zA-Z]+)\}$/.exec(segment)?.[1]
    if (field === undefined) {
      const next = node.literal.get(segment) ?? newNode()
      node.literal.set(segment, next)
      node = next
    } else {
      fields.push(field)
      node.field ??= newNode()
      node = node.field
    }
  }
  const leaf = `${operation.method}:${verb}`
  assert(!node.leaves.has(leaf), `two operations at ${operation.method} ${operation.path}`)
  node.leaves.set(leaf, { operation, fields })
}

function follow(root: PathNode, path: string): { node: PathNode; values: string[] } | undefined {
  const segments = path.split("/").slice(1)
  if (segments.length > segmentsMax) return undefined
  const values: string[] = []
  let node = root
  for (const segment of segments) {
    const literal = node.literal.get(segment)
    if (literal) {
      node = literal
      continue
    }
    const value = decode(segment)
    if (!node.field || !value) return undefined
    values.push(value)
    node = node.field
  }
  return { node, values }
}

function decode(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment)
  } catch {
    return undefined
  }
}
