import { AppError, isAppError } from "@signalbox/kernel/app-error"

/** The five characters by which PostgreSQL names a condition (its manual, appendix A), where `error` came from it. */
export function findSqlState(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) ? code : undefined
}

/** True where the same transaction, run again, may succeed: a serialization failure or a deadlock. */
export function isTransient(error: unknown): boolean {
  return ["40001", "40P01"].includes(findSqlState(error) ?? "")
}

const socketCodes = [
  "ECONNREFUSED",
  "ECONNRESET",
  "ENOENT",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EACCES",
]
const lostConnection =
  /connection terminated|client has encountered a connection error|timeout exceeded when trying to connect|not queryable/i
/** Shut down by an administrator, crashed, starting up, too many connections, idle in a transaction for too long. */
const goneStates = ["57P01", "57P02", "57P03", "53300", "25P03"]

/** True where the connection, not the statement, failed. */
export function isConnectionFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error instanceof AggregateError) return error.errors.some(isConnectionFailure)
  const state = findSqlState(error)
  if (state !== undefined && (state.startsWith("08") || goneStates.includes(state))) return true
  return socketCodes.includes(String((error as { code?: unknown }).code)) || lostConnection.test(error.message)
}

/** What a failed statement means to a caller: an AppError where one fits, else the very error. */
export function toStorageError(error: unknown, doing: string): unknown {
  if (isAppError(error)) return error
  const reason = error instanceof Error ? error.message || error.name : String(error)
  if (isConnectionFailure(error)) return new AppError("storage.unavailable", `${doing}: ${reason}`, { cause: error })
  if (findSqlState(error) === "53100") return new AppError("storage.disk-full", `${doing}: ${reason}`, { cause: error })
  return error
}
