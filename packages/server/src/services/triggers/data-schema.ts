import { AppError } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import type { ValidateFunction } from "ajv"
import { Ajv2020 } from "ajv/dist/2020.js"
import { safePattern } from "../../safe-pattern.ts"

/**
 * JSON Schemas of what is fired, compiled once each. A schema comes from a person of the account: patterns are run by
 * RE2, which can't be made to backtrack, and nothing is loaded from elsewhere.
 */
const compiledMax = 500
const compiled = new Map<string, ValidateFunction>()
const issuesShownMax = 20

/** @throws triggers.invalid-schema */
export function compileSchema(schema: Readonly<Record<string, unknown>>): ValidateFunction {
  const text = canonicalJson(schema)
  const known = compiled.get(text)
  if (known) return known
  let validate: ValidateFunction
  try {
    // One each: what a schema calls itself by `$id` is of no concern to another.
    const ajv = new Ajv2020({ strict: true, allErrors: false, validateFormats: false, code: { regExp: safePattern } })
    validate = ajv.compile(schema)
  } catch (cause) {
    throw new AppError("triggers.invalid-schema", `the schema is not understood: ${reasonOf(cause)}`, { cause })
  }
  const [oldest] = compiled.keys()
  if (compiled.size >= compiledMax && oldest !== undefined) compiled.delete(oldest)
  compiled.set(text, validate)
  return validate
}

/** @throws triggers.data-refused with the places that don't fit */
export function checkData(
  schema: Readonly<Record<string, unknown>>,
  { name, data }: { readonly name: string; readonly data: unknown },
): void {
  const validate = compileSchema(schema)
  if (validate(data)) return
  const issues = (validate.errors ?? []).slice(0, issuesShownMax).map(({ instancePath, message = "does not fit" }) => ({
    path: ["data", ...instancePath.split("/").slice(1)].join("."),
    message,
  }))
  const [first] = issues
  throw new AppError("triggers.data-refused", `the data doesn't fit "${name}": ${first?.path} ${first?.message}`, {
    issues,
  })
}

function reasonOf(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).slice(0, 300)
}
