/** What is answered to a call that waits for an approval: at once, or as long as the caller prefers to wait. */
import type { IncomingHttpHeaders } from "node:http"
import { heldOperationsWait } from "@signalbox/contracts/approvals/held-operations"
import type { Held, OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { ErrorCode } from "@signalbox/kernel/error-catalogue"
import type { RouterReply } from "../router/router.ts"
import { readWait } from "./hold-headers.ts"

type HeldOperation = OutputOf<typeof heldOperationsWait>

export interface HeldAnswer {
  /** What came of the call, where it has ended by then. */
  readonly ended?: HeldOperation
  /** Seconds, where the caller wanted to wait. */
  readonly waited?: number
}

/** @param call calls the router as the one who made the held call */
export async function waitForHeld(
  headers: IncomingHttpHeaders,
  held: Held,
  call: (operation: string, input: unknown) => Promise<RouterReply>,
): Promise<HeldAnswer> {
  const seconds = readWait(headers)
  if (seconds === 0) return {}
  const request = held.requestUrl.slice(held.requestUrl.lastIndexOf("/") + 1)
  const waited = await call(heldOperationsWait.name, { request, seconds })
  assert(waited.effect === "read", "waiting changes nothing")
  const operation = waited.value as HeldOperation
  const hasEnded = operation.state !== "waiting" && operation.state !== "approved"
  return { waited: seconds, ...(hasEnded && { ended: operation }) }
}

/** Why a held call did not come to its result. */
export function heldError({ error, request }: HeldOperation): AppError | undefined {
  return error && new AppError(error.code as ErrorCode, error.message, { details: { request } })
}
