import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"

const timeoutCodes: ReadonlySet<string> = new Set(["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT"])
/** Errors after which it is certain that nothing was sent. */
const unsentCodes: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_CLOSED",
])

/** What went wrong on the way to a service, for the caller: nothing of the addresses behind. */
export function toGatewayError(error: unknown, service: string, isTimedOut: boolean): AppError {
  if (isAppError(error) && !error.code.startsWith("egress.")) return error
  assert(error instanceof Error, "what fails is an error")
  const { code } = error as { code?: string }
  if (isTimedOut || (code !== undefined && timeoutCodes.has(code)))
    return new AppError("gateway.upstream-timeout", `${service} did not reply in time`, { cause: error })
  if (isAppError(error) || (code !== undefined && unsentCodes.has(code)))
    return new AppError("gateway.unreachable", `${service} can't be reached`, { cause: error })
  return new AppError("gateway.upstream-failed", `${service} broke off before it replied`, { cause: error })
}
