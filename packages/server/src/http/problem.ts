import { problemStatus, type Problem } from "@signalbox/contracts/problem"
import type { AppError } from "@signalbox/kernel/app-error"

/** An error as the edge tells it: what `contracts/problem.ts` declares. */
export function toProblem(error: AppError, requestId: string): Problem {
  const { kind, help, retryable } = error.entry
  return {
    type: `https://signalbox.dev/errors/${error.code}`,
    title: error.code.slice(error.code.indexOf(".") + 1).replaceAll("-", " "),
    status: problemStatus[kind],
    detail: error.message,
    code: error.code,
    help,
    retryable,
    requestId,
    ...(error.issues.length > 0 ? { issues: [...error.issues] } : {}),
    ...(Object.keys(error.details).length > 0 ? { details: { ...error.details } } : {}),
  }
}
