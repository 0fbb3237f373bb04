/** When a held call runs, and how it is shown. Pure. */
import type { heldOperation } from "@signalbox/contracts/approvals/held-operations"
import { toInstant } from "@signalbox/kernel/clock"
import type { z } from "zod"
import type { Freeze, WindowsAnswer } from "../../router/ports.ts"
import type { HeldRow, HeldState } from "./held-store.ts"
import { requestUrl } from "./request-wire.ts"

export type RunTime =
  | { readonly kind: "now" }
  | { readonly kind: "later"; readonly at: number }
  | { readonly kind: "never" }

/** A calendar that nobody can tell the end of is looked at again so soon. */
const unknownMilliseconds = 60_000

/**
 * An approved call runs from its time on, while its window is open and no calendar is closed that its approval didn't
 * cover. `never`: the window doesn't open any more.
 */
export function decideRunTime(
  { notBefore, window, calendars }: Pick<HeldRow, "notBefore" | "window" | "calendars">,
  {
    now,
    closed,
    stateOfWindow,
  }: { readonly now: number; readonly closed: readonly Freeze[]; stateOfWindow(name: string): WindowsAnswer },
): RunTime {
  if (notBefore !== null && notBefore > now) return { kind: "later", at: notBefore }
  const shut = closed.find(({ calendar }) => !calendars.includes(calendar))
  if (shut)
    return {
      kind: "later",
      at: Math.max(shut.opensAt ?? 0, now + 1, shut.opensAt === null ? now + unknownMilliseconds : 0),
    }
  if (window === null) return { kind: "now" }
  const { open, changesAt } = stateOfWindow(window)
  if (open) return { kind: "now" }
  return changesAt === null ? { kind: "never" } : { kind: "later", at: changesAt }
}

export function toHeldOperation(row: HeldRow, publicUrl: string): z.output<typeof heldOperation> {
  const error = errorOf(row)
  return {
    request: row.requestId,
    requestUrl: requestUrl(publicUrl, row.requestId),
    operation: row.operation,
    state: heldStateOf(row),
    principal: row.principal,
    digest: row.digest,
    revision: row.revision,
    ...(row.notBefore === null ? {} : { notBefore: toInstant(row.notBefore) }),
    ...(row.window === null ? {} : { window: row.window }),
    ...(row.ranAt === null ? {} : { ranAt: toInstant(row.ranAt) }),
    ...(row.state === "done" || row.result !== null ? { result: row.result } : {}),
    ...(error && { error }),
  }
}

/** What its request has come to reaches the row by an event, a moment later. */
export function heldStateOf({ state, requestState }: Pick<HeldRow, "state" | "requestState">): HeldState {
  if (state !== "waiting") return state
  if (requestState === "approved") return "approved"
  return requestState === "denied" || requestState === "expired" || requestState === "cancelled" ? "discarded" : state
}

export function hasHeldEnded(row: HeldRow): boolean {
  const state = heldStateOf(row)
  return state !== "waiting" && state !== "approved"
}

function errorOf(row: HeldRow): { code: string; message: string } | undefined {
  if (row.errorCode !== null) return { code: row.errorCode, message: row.errorMessage ?? "" }
  if (heldStateOf(row) !== "discarded") return undefined
  return {
    code: "approvals.refused",
    message: `${row.operation} was not approved: ${row.requestId} is ${row.requestState}`,
  }
}
