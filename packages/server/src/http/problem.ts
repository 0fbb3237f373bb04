import type { AppError } from "@signalbox/kernel/app-error"
import type { ErrorKind } from "@signalbox/kernel/error-catalogue"

/** The one place where the kinds of errors become HTTP statuses. */
const statusOfKind: Record<ErrorKind, number> = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  "not-found": 404,
  conflict: 409,
  "too-large": 413,
  mismatch: 422,
  limited: 429,
  internal: 500,
  unavailable: 503,
}

/** RFC 9457, with what Signalbox adds: the code, what to do, and whether a repeat can help. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: string
  readonly help: string
  readonly retryable: boolean
  readonly requestId: string
  readonly issues?: AppError["issues"]
  readonly details?: AppError["details"]
}

export const problemMediaType = "application/problem+json"

export function toProblem(error: AppError, requestId: string): Problem {
  const { kind, help, retryable } = error.entry
  return {
    type: `https://signalbox.dev/errors/${error.code}`,
    title: error.code.slice(error.code.indexOf(".") + 1).replaceAll("-", " "),
    status: statusOfKind[kind],
    detail: error.message,
    code: error.code,
    help,
    retryable,
    requestId,
    ...(error.issues.length > 0 ? { issues: error.issues } : {}),
    ...(Object.keys(error.details).length > 0 ? { details: error.details } : {}),
  }
}
