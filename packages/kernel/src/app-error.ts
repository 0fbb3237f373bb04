import { errorCatalogue, type ErrorCode, type ErrorEntry } from "./error-catalogue.ts"

/** One thing wrong with an input: where (a JSON path, or a line of a document), and what. */
export interface Issue {
  readonly path: string
  readonly message: string
  readonly line?: number
  readonly column?: number
}

export interface AppErrorOptions {
  readonly cause?: unknown
  readonly issues?: readonly Issue[]
  /** Small machine-readable facts (ids, limits); shown to the caller, so never a secret. */
  readonly details?: Readonly<Record<string, unknown>>
}

/**
 * A refusal or a failure that somebody outside can act on. Its code is a row of the error catalogue. Compare codes,
 * not classes: two copies of this package may be loaded in one process.
 *
 * @example throw new AppError("fleet.node-not-found", `no node "${name}" in this account`)
 */
export class AppError extends Error {
  override readonly name = "AppError"
  readonly code: ErrorCode
  readonly issues: readonly Issue[]
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.issues = options.issues ?? []
    this.details = options.details ?? {}
  }

  get entry(): ErrorEntry {
    return errorCatalogue[this.code]
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && Object.hasOwn(errorCatalogue, value)
}

export function isAppError(value: unknown): value is AppError {
  return value instanceof Error && value.name === "AppError" && isErrorCode((value as { code?: unknown }).code)
}

/** True where `error` is an AppError with this code. */
export function hasCode(error: unknown, code: ErrorCode): boolean {
  return isAppError(error) && error.code === code
}
