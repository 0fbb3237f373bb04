/** Values of declared parameters, of workflows and products alike: read as they were given, checked, with defaults. Pure. */
import type { ParameterDeclaration, ParameterValue } from "@signalbox/contracts/workflows/document"
import type { Issue } from "@signalbox/kernel/app-error"
import { RE2JS } from "re2js"

export type ParameterValues = Readonly<Record<string, ParameterValue>>
export type ParameterDeclarations = Readonly<Record<string, ParameterDeclaration>>

/**
 * A pattern in RE2 syntax, which has neither look-around nor back-references and is matched in time linear in the
 * value: no pattern of an author can hold up the server. Undefined where it is no such pattern.
 */
export function compilePattern(pattern: string): RE2JS | undefined {
  try {
    return RE2JS.compile(pattern)
  } catch {
    return undefined
  }
}

/** What is wrong with a value; undefined where nothing is. */
export function findValueFault(declaration: ParameterDeclaration, value: ParameterValue): string | undefined {
  const { type } = declaration
  const expected = type === "integer" || type === "number" ? "number" : type
  if (typeof value !== expected) return `is ${describe(value)}, not ${type === "integer" ? "an integer" : `a ${type}`}`
  if (declaration.enum && !declaration.enum.includes(value)) return `is not one of ${declaration.enum.join(", ")}`
  if (typeof value === "number") return findNumberFault(declaration, value)
  if (typeof value === "string") return findStringFault(declaration, value)
  return undefined
}

function findNumberFault({ type, min, max }: ParameterDeclaration, value: number): string | undefined {
  if (type === "integer" && !Number.isSafeInteger(value)) return "is not an integer"
  if (min !== undefined && value < min) return `is below ${min}`
  if (max !== undefined && value > max) return `is above ${max}`
  return undefined
}

function findStringFault({ lengthMax, pattern }: ParameterDeclaration, value: string): string | undefined {
  if (value.includes("\0")) return "has a NUL character"
  if (lengthMax !== undefined && value.length > lengthMax) return `is longer than ${lengthMax} characters`
  if (pattern !== undefined && !compilePattern(pattern)?.matcher(value).find()) return `doesn't match ${pattern}`
  return undefined
}

function describe(value: ParameterValue): string {
  return typeof value === "string" ? `the text "${value.slice(0, 40)}"` : String(value)
}

/**
 * The values of all parameters: what was given, with the defaults, and what is wrong. A parameter that may be left out
 * and has no default is the empty text. Numbers and booleans may be given as text, as the command line does.
 */
export function readParameters(
  declarations: ParameterDeclarations,
  given: ParameterValues,
): { readonly values: ParameterValues; readonly issues: readonly Issue[] } {
  const issues: Issue[] = Object.keys(given)
    .filter((name) => !Object.hasOwn(declarations, name))
    .map((name) => ({ path: `parameters.${name}`, message: "is not a parameter" }))
  const values: Record<string, ParameterValue> = {}
  for (const [name, declaration] of Object.entries(declarations)) {
    const value = Object.hasOwn(given, name) ? readValue(declaration, given[name] ?? "") : declaration.default
    if (value === undefined) {
      if (declaration.required === false) values[name] = ""
      else issues.push({ path: `parameters.${name}`, message: "is required" })
      continue
    }
    const fault = findValueFault(declaration, value)
    if (fault === undefined) values[name] = value
    else issues.push({ path: `parameters.${name}`, message: fault })
  }
  return { values, issues }
}

function readValue({ type }: ParameterDeclaration, given: ParameterValue): ParameterValue {
  if (typeof given !== "string" || type === "string") return given
  if (type === "boolean") return given === "true" ? true : given === "false" ? false : given
  return /^-?\d{1,15}(?:\.\d{1,15})?$/.test(given) ? Number(given) : given
}
