import type { AnyOperation } from "@signalbox/contracts/operation"
import { AppError, type Issue } from "@signalbox/kernel/app-error"
import { flagName } from "./field-option.ts"
import type { Field } from "./field.ts"

/** Puts a value at a path of an input; records given in parts are joined. */
export function putValue(input: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [first = "", ...rest] = path
  if (rest.length > 0) {
    const nested = isRecord(input[first]) ? { ...input[first] } : {}
    putValue(nested, rest, value)
    input[first] = nested
  } else {
    const before = input[first]
    input[first] = isRecord(before) && isRecord(value) ? { ...before, ...value } : value
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/**
 * Finds what is wrong with an input before it is sent, in the words of the command line. The server checks again.
 *
 * @throws request.invalid-input
 */
export function checkInput(
  operation: AnyOperation,
  input: Readonly<Record<string, unknown>>,
  command: { readonly fields: readonly Field[]; readonly positionals: readonly string[] },
): void {
  const result = operation.input.safeParse(input)
  if (result.success) return
  const issues: Issue[] = result.error.issues.map((issue) => {
    const path = issue.path.map(String)
    return {
      path: wordOf(path, command),
      message: issue.code === "invalid_type" && valueAt(input, path) === undefined ? "is missing" : issue.message,
    }
  })
  throw new AppError("request.invalid-input", "the input is not valid", { issues })
}

function wordOf(
  path: readonly string[],
  command: { readonly fields: readonly Field[]; readonly positionals: readonly string[] },
): string {
  const field = command.fields.find((candidate) => candidate.path.every((part, index) => part === path[index]))
  if (!field) return path.join(".")
  if (field.path.length === 1 && command.positionals.includes(field.path[0] ?? "")) return `<${field.path[0]}>`
  const rest = path.slice(field.path.length)
  const flag = `--${flagName(field.path, (field.kind === "list" || field.kind === "record") && field.plural !== true)}`
  return rest.length === 0 ? flag : `${flag} ${rest.join(".")}`
}

function valueAt(input: unknown, path: readonly string[]): unknown {
  let at = input
  for (const part of path) at = isRecord(at) ? at[part] : undefined
  return at
}
