import { AppError, type Issue, isErrorCode } from "@signalbox/kernel/app-error"
import { errorCatalogue } from "@signalbox/kernel/error-catalogue"

/** An error reply as the server writes it: RFC 9457 with our code, and what to do next. */
export interface Problem {
  readonly type?: string
  readonly title?: string
  /** Absent where no server answered. */
  readonly status?: number
  readonly detail?: string
  readonly code?: string
  readonly issues?: readonly Issue[]
  readonly details?: Readonly<Record<string, unknown>>
  readonly help?: string
  readonly retryable?: boolean
  readonly requestId?: string
}

/** An error reply as an AppError; a code of a newer server becomes request.internal with the server's text. */
export function problemError(problem: Problem): AppError {
  const text = problem.detail ?? problem.title ?? `the server answered with status ${problem.status ?? "unknown"}`
  const details = {
    ...problem.details,
    ...(problem.requestId === undefined ? {} : { requestId: problem.requestId }),
  }
  const issues = problem.issues ?? []
  if (isErrorCode(problem.code)) return new AppError(problem.code, text, { issues, details })
  const { code, status } = problem
  const unknown = { ...details, ...(status === undefined ? {} : { status }), ...(code === undefined ? {} : { code }) }
  return new AppError("request.internal", text, { issues, details: unknown })
}

/** The error of a reply, whatever its body is: something between us and the server may have answered in its place. */
export function replyError(status: number, body: string, url: string): AppError {
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    value = undefined
  }
  if (isProblem(value)) return problemError({ ...value, status })
  const what = `${url} answered with status ${status} and no explanation`
  if (status === 502 || status === 503 || status === 504) return new AppError("cli.no-server", what)
  return new AppError("request.internal", `${what}; is it a Signalbox server?`, { details: { status } })
}

/** What the CLI prints with --json, and the shape the server sends. */
export function toProblem(error: AppError): Problem & { readonly code: string } {
  const { requestId, status, ...details } = error.details
  return {
    type: `https://signalbox.dev/errors/${error.code}`,
    title: error.entry.kind,
    ...(typeof status === "number" ? { status } : {}),
    detail: error.message,
    code: error.code,
    ...(error.issues.length > 0 ? { issues: error.issues } : {}),
    ...(Object.keys(details).length > 0 ? { details } : {}),
    help: errorCatalogue[error.code].help,
    retryable: error.entry.retryable,
    ...(typeof requestId === "string" ? { requestId } : {}),
  }
}

function isProblem(value: unknown): value is Problem {
  return (
    typeof value === "object" &&
    value !== null &&
    ("code" in value || "detail" in value || "title" in value) &&
    (!("issues" in value) || Array.isArray(value.issues))
  )
}
