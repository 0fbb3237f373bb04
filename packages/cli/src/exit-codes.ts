import type { AppError } from "@signalbox/kernel/app-error"
import type { ErrorKind } from "@signalbox/kernel/error-catalogue"

export const exitCodes = {
  ok: 0,
  /** The command worked, and the answer is no. */
  negative: 1,
  usage: 2,
  held: 3,
  denied: 4,
  notFound: 5,
  conflict: 6,
  unavailable: 7,
  internal: 70,
  interrupted: 130,
} as const

/** The one place where the kinds of errors become exit codes. */
const exitCodeOfKind: Record<ErrorKind, number> = {
  invalid: exitCodes.usage,
  unauthenticated: exitCodes.denied,
  forbidden: exitCodes.denied,
  "not-found": exitCodes.notFound,
  conflict: exitCodes.conflict,
  mismatch: exitCodes.conflict,
  "too-large": exitCodes.conflict,
  limited: exitCodes.unavailable,
  unavailable: exitCodes.unavailable,
  "failed-outside": exitCodes.unavailable,
  "late-outside": exitCodes.unavailable,
  internal: exitCodes.internal,
}

export function exitCodeOf(error: AppError): number {
  return exitCodeOfKind[error.entry.kind]
}

/** For `signalbox help exit-codes` and docs/cli.md. */
export const exitCodeTexts: ReadonlyArray<readonly [number, string]> = [
  [exitCodes.ok, "it worked"],
  [
    exitCodes.negative,
    "it worked and the answer is no: the run failed, is incomplete or was aborted; diff found differences; auth can says no; a document is invalid; the audit chain or an approval does not fit",
  ],
  [exitCodes.usage, "wrong usage, or an invalid input"],
  [exitCodes.held, "held: the change waits for approval"],
  [exitCodes.denied, "not authenticated, not allowed, or the server's certificate isn't trusted"],
  [exitCodes.notFound, "nothing of that name"],
  [exitCodes.conflict, "the state of things doesn't allow it, or the input contradicts it or is too large"],
  [exitCodes.unavailable, "the server or a part of it can't be reached, or there are too many calls; try again later"],
  [exitCodes.internal, "a fault in Signalbox or in its installation"],
  [exitCodes.interrupted, "interrupted by Ctrl-C; a run that was watched goes on"],
]
