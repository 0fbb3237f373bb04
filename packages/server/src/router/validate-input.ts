import type { AnyOperation } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { refuseUnstorable } from "./storable-text.ts"

const issuesShownMax = 50

/** The input as the operation's schema makes it, with defaults. @throws request.invalid-input */
export function validateInput(operation: AnyOperation, input: unknown): unknown {
  const result = operation.input.safeParse(input ?? {})
  if (result.success) {
    refuseUnstorable(result.data)
    return result.data
  }
  const issues = result.error.issues
    .slice(0, issuesShownMax)
    .map((issue) => ({ path: issue.path.join("."), message: issue.message }))
  const first = issues[0]
  throw new AppError(
    "request.invalid-input",
    `${operation.name}: ${first?.path ? `${first.path}: ` : ""}${first?.message ?? "invalid input"}`,
    { issues },
  )
}
