/**
 * Which association matches a request (A5), by an index: one look per combination of fields in use, the most specific
 * first, however many associations there are. Specificity compares `selectorFields` in their order; set goes before
 * unset, and of operation patterns the one with more literal characters goes first.
 */
import type { Issue } from "@signalbox/kernel/app-error"
import type { RequestAttributes } from "./types.ts"

/** In the order of specificity, the most specific first. */
export const selectorFields = [
  "request",
  "product",
  "portfolio",
  "project",
  "action",
  "topic",
  "workflow",
  "type",
  "operation",
] as const

export type SelectorField = (typeof selectorFields)[number]

/** All fields have to be equal; `operation` may end in `*`. */
export type Selector = { readonly [Field in SelectorField]?: string }

export interface Association {
  readonly name: string
  readonly selector: Selector
}

const plainFields = selectorFields.filter((field) => field !== "operation")

/** The associations with the same fields set, by the values of those fields, then by operation pattern. */
interface Shape<Item extends Association> {
  readonly fields: readonly SelectorField[]
  readonly byValues: Map<string, OperationTable<Item>>
}

interface OperationTable<Item> {
  readonly exact: Map<string, Item>
  /** By what stands before the `*`, which may be nothing. */
  readonly prefixes: Map<string, Item>
  any: Item | undefined
}

export interface AssociationIndex<Item extends Association> {
  /** The most specific first. */
  readonly shapes: ReadonlyArray<Shape<Item>>
  readonly byShape: ReadonlyMap<string, Shape<Item>>
}

function shapeNameOf(selector: Selector): string {
  return plainFields.map((field) => (selector[field] === undefined ? "0" : "1")).join("")
}

function valuesKey(fields: readonly SelectorField[], values: RequestAttributes | Selector): string | undefined {
  let key = ""
  for (const field of fields) {
    const value = values[field]
    if (typeof value !== "string") return undefined
    key += `${value.length}:${value}`
  }
  return key
}

function placeIn<Item>(table: OperationTable<Item>, operation: string | undefined): Item | undefined {
  if (operation === undefined) return table.any
  if (operation.endsWith("*")) return table.prefixes.get(operation.slice(0, -1))
  return table.exact.get(operation)
}

function put<Item extends Association>(table: OperationTable<Item>, item: Item): void {
  const { operation } = item.selector
  // Of two that say the same, which `findTie` refuses, the first one stays.
  if (placeIn(table, operation) !== undefined) return
  if (operation === undefined) table.any = item
  else if (operation.endsWith("*")) table.prefixes.set(operation.slice(0, -1), item)
  else table.exact.set(operation, item)
}

/** Compiles associations for `matchAssociation` and `findTie`; made once for each version of them. */
export function indexAssociations<Item extends Association>(associations: readonly Item[]): AssociationIndex<Item> {
  const byShape = new Map<string, Shape<Item>>()
  for (const item of associations) {
    const name = shapeNameOf(item.selector)
    const fields = plainFields.filter((field) => item.selector[field] !== undefined)
    const shape: Shape<Item> = byShape.get(name) ?? { fields, byValues: new Map() }
    byShape.set(name, shape)
    const key = valuesKey(fields, item.selector) ?? ""
    const table = shape.byValues.get(key) ?? { exact: new Map(), prefixes: new Map(), any: undefined }
    shape.byValues.set(key, table)
    put(table, item)
  }
  const inOrder = [...byShape].toSorted(([a], [b]) => (a < b ? 1 : -1))
  return { shapes: inOrder.map(([, shape]) => shape), byShape }
}

function matchOperation<Item>(table: OperationTable<Item>, operation: unknown): Item | undefined {
  if (typeof operation !== "string") return table.any
  const exact = table.exact.get(operation)
  if (exact !== undefined || table.prefixes.size === 0) return exact ?? table.any
  for (let length = operation.length; length >= 0; length--) {
    const found = table.prefixes.get(operation.slice(0, length))
    if (found !== undefined) return found
  }
  return table.any
}

/** The most specific association whose selector matches; undefined where none does. */
export function matchAssociation<Item extends Association>(
  index: AssociationIndex<Item>,
  attributes: RequestAttributes,
): Item | undefined {
  for (const { fields, byValues } of index.shapes) {
    const key = valuesKey(fields, attributes)
    const table = key === undefined ? undefined : byValues.get(key)
    const found = table && matchOperation(table, attributes["operation"])
    if (found !== undefined) return found
  }
  return undefined
}

/**
 * Another association that could match the same request with equal specificity. Since fields are compared in a fixed
 * order, those are the ones with the same selector.
 */
export function findTie<Item extends Association>(
  index: AssociationIndex<Item>,
  { name, selector }: Association,
): Item | undefined {
  const shape = index.byShape.get(shapeNameOf(selector))
  const table = shape?.byValues.get(valuesKey(shape.fields, selector) ?? "")
  const found = table && placeIn(table, selector.operation)
  return found?.name === name ? undefined : found
}

/** What is wrong with a selector. */
export function judgeSelector(selector: Selector): Issue[] {
  const set = selectorFields.filter((field) => selector[field] !== undefined)
  const empty = set.filter((field) => selector[field] === "")
  const star = selector.operation?.slice(0, -1).includes("*") ?? false
  return [
    ...(set.length === 0 ? [{ path: "selector", message: "give at least one field" }] : []),
    ...empty.map((field) => ({ path: `selector.${field}`, message: "is empty" })),
    ...(star ? [{ path: "selector.operation", message: "only the end of a pattern can be *" }] : []),
  ]
}
