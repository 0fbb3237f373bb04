import { AppError, isAppError, type Issue } from "@signalbox/kernel/app-error"
import { toProblem } from "@signalbox/sdk/problem"
import { exitCodeOf, exitCodes } from "../exit-codes.ts"
import { type Io, printLine } from "../io.ts"
import { safeText } from "./safe-text.ts"

const issuesShownMax = 20

/** Tells what failed and what to do next, on standard error; returns the exit code. */
export async function printError(
  failure: unknown,
  options: { readonly io: Io; readonly doing: string; readonly json: boolean },
): Promise<number> {
  if (isBrokenPipe(failure)) return exitCodes.ok
  const { io, doing, json } = options
  const error = isAppError(failure) ? failure : unexpected(failure)
  const text = json ? JSON.stringify(toProblem(error)) : renderError(error, doing)
  await printLine(io.stderr, text)
  if (io.environment["SIGNALBOX_DEBUG"] === "1") await printLine(io.stderr, String(stackOf(failure)))
  return exitCodeOf(error)
}

/** The reader of our output left (`… | head -1`): nothing is wrong. */
export function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "EPIPE" || error.code === "ERR_STREAM_DESTROYED")
}

export function renderError(error: AppError, doing: string): string {
  const lines = [`${doing}: ${safeText(error.message)} [${error.code}]`]
  for (const issue of error.issues.slice(0, issuesShownMax)) lines.push(`  ${renderIssue(issue)}`)
  const more = error.issues.length - issuesShownMax
  if (more > 0) lines.push(`  and ${more} more`)
  lines.push(`help: ${error.entry.help}`)
  const { requestId } = error.details
  if (typeof requestId === "string") lines.push(`request: ${safeText(requestId)}`)
  return lines.join("\n")
}

function renderIssue(issue: Issue): string {
  const place =
    issue.line === undefined ? "" : `line ${issue.line}${issue.column === undefined ? "" : `:${issue.column}`}: `
  return safeText(`${place}${issue.path === "" ? "" : `${issue.path}: `}${issue.message}`)
}

function unexpected(failure: unknown): AppError {
  const message = failure instanceof Error ? failure.message : String(failure)
  return new AppError("request.internal", message, { cause: failure })
}

function stackOf(failure: unknown): unknown {
  if (!(failure instanceof Error)) return failure
  return failure.cause === undefined ? failure.stack : `${failure.stack}\ncaused by: ${String(stackOf(failure.cause))}`
}
