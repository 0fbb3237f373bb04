/**
 * The input of a rule's action: any JSON whose texts may hold `${{ expressions }}` in CEL. A text that is one expression
 * alone becomes its value, whatever its type; within other text a value is written out. Pure.
 */
import { compileExpression, type Expression } from "@signalbox/expressions/compile-expression"
import { parseExpression } from "@signalbox/expressions/parse-expression"
import type { VariableType } from "@signalbox/expressions/variable-type"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import type { Path } from "./condition.ts"
import { findReads } from "./find-reads.ts"

export const inputTemplateLimits = {
  depthMax: 32,
  /** Expressions in one template. */
  expressionsMax: 100,
  /** Characters of what a template comes to, as JSON. */
  renderedLengthMax: 256 * 1024,
} as const

export interface InputTemplate {
  /** What its expressions read of the data. */
  readonly reads: readonly Path[]
  /** @throws expressions.evaluation-failed where an expression has no result, or the whole is too long */
  render(data: Readonly<Record<string, unknown>>): unknown
}

type Render = (data: Readonly<Record<string, unknown>>) => unknown

interface Compiling {
  readonly variables: Readonly<Record<string, VariableType>>
  expressionsLeft: number
  readonly reads: Path[]
}

const opening = "${{"
const closing = "}}"

/**
 * @throws expressions.invalid with the path of the text that is wrong
 * @example compileInputTemplate({ node: "${{ event.data.node }}" }, { event: "dyn" }).render({ event }) // { node: "web-1" }
 */
export function compileInputTemplate(value: unknown, variables: Readonly<Record<string, VariableType>>): InputTemplate {
  const reads: Path[] = []
  const render = compile(value, [], { variables, expressionsLeft: inputTemplateLimits.expressionsMax, reads })
  return {
    reads,
    render(data) {
      const rendered = render(data)
      if ((JSON.stringify(rendered)?.length ?? 0) <= inputTemplateLimits.renderedLengthMax) return rendered
      const most = inputTemplateLimits.renderedLengthMax
      throw new AppError("expressions.evaluation-failed", `the input has more than ${most} characters`)
    },
  }
}

function compile(value: unknown, path: readonly (string | number)[], compiling: Compiling): Render {
  if (path.length > inputTemplateLimits.depthMax)
    throw invalid(`${path.slice(0, 3).join(".")}… is nested more than ${inputTemplateLimits.depthMax} deep`, path)
  if (typeof value === "string") return compileText(value, path, compiling)
  if (Array.isArray(value)) {
    const members = value.map((member, index) => compile(member, [...path, index], compiling))
    return (data) => members.map((member) => member(data))
  }
  if (typeof value !== "object" || value === null) return () => value
  const members = Object.entries(value).map(
    ([name, member]) => [name, compile(member, [...path, name], compiling)] as const,
  )
  return (data) => Object.fromEntries(members.map(([name, member]) => [name, member(data)]))
}

function compileText(text: string, path: readonly (string | number)[], compiling: Compiling): Render {
  const parts: Array<string | Expression> = []
  let rest = 0
  for (let start = text.indexOf(opening); start !== -1; start = text.indexOf(opening, rest)) {
    if (start > rest) parts.push(text.slice(rest, start))
    const { expression, end } = compileAt(text, start + opening.length, { path, compiling })
    parts.push(expression)
    rest = end
  }
  if (rest < text.length) parts.push(text.slice(rest))
  const [only] = parts
  if (parts.length === 1 && only !== undefined && typeof only !== "string") return (data) => only.evaluate(data)
  return (data) => parts.map((part) => (typeof part === "string" ? part : written(part.evaluate(data)))).join("")
}

/** Up to the first `}}` that ends an expression: maps and texts may hold others. */
function compileAt(
  text: string,
  from: number,
  { path, compiling }: { readonly path: readonly (string | number)[]; readonly compiling: Compiling },
): { readonly expression: Expression; readonly end: number } {
  if (compiling.expressionsLeft-- <= 0)
    throw invalid(`there are more than ${inputTemplateLimits.expressionsMax} expressions`, path)
  let first: unknown
  for (let end = text.indexOf(closing, from); end !== -1; end = text.indexOf(closing, end + 1)) {
    try {
      const source = text.slice(from, end).trim()
      const expression = compileExpression(source, { variables: compiling.variables, resultType: "any" })
      compiling.reads.push(...findReads(parseExpression(source)))
      return { expression, end: end + closing.length }
    } catch (error) {
      first ??= error
    }
  }
  if (first === undefined) throw invalid(`an expression is opened with ${opening} and never closed with }}`, path)
  if (!isAppError(first)) throw first
  throw invalid(first.message, path)
}

function invalid(message: string, path: readonly (string | number)[]): AppError {
  const place = path.join(".")
  const shown = place === "" ? message : `${place}: ${message}`
  return new AppError("expressions.invalid", shown, { issues: [{ path: place, message }] })
}

function written(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value)
}
