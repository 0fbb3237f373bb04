/** What becomes of runs whose call waits for an approval: they end with it. */
import { heldOperationsGet } from "@signalbox/contracts/approvals/held-operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { hasCode } from "@signalbox/kernel/app-error"
import type { Consumer } from "../../storage/dispatcher.ts"
import { appendEvents } from "../../storage/outbox.ts"
import { performingLimits } from "./action-limits.ts"
import type { ActionsOptions } from "./options.ts"
import { toRunError } from "./queue-runs.ts"
import { runEvent } from "./run-events.ts"
import { settleHeld, takeHeldDue, type RunError, type RunRow } from "./run-store.ts"

export interface HeldPlace extends Pick<RunRow, "account" | "cause" | "depth"> {
  readonly requestId: string
}

interface HeldEnd {
  readonly state: "succeeded" | "dead" | "cancelled"
  readonly error: RunError | null
}

const notApproved = (how: string): HeldEnd => ({
  state: "cancelled",
  error: { code: "actions.not-approved", message: `its approval request ${how}` },
})

const ends: Readonly<Record<string, (data: Partial<RunError>) => HeldEnd>> = {
  "approval-request.ran": () => ({ state: "succeeded", error: null }),
  "approval-request.run-failed": ({ code = "request.internal", message = "the approved call failed" }) => ({
    state: "dead",
    error: toRunError({ code, message }),
  }),
  "approval-request.denied": () => notApproved("was denied"),
  "approval-request.expired": () => notApproved("has expired"),
  "approval-request.cancelled": () => notApproved("was cancelled"),
}

export function heldConsumer(options: ActionsOptions): Consumer {
  return {
    name: "actions.held",
    types: Object.keys(ends),
    isWanted: ({ principal, data }) =>
      principal.startsWith("rule:") || (data as { readonly held?: boolean }).held === true,
    async handle({ account, subject: requestId, type, cause, data }) {
      const end = ends[type]?.(data as Partial<RunError>)
      if (end) await settle(options, { account, requestId, cause }, end)
    },
  }
}

/** Asks for what the events may have told before the run was there to hear it. True where it has ended. */
export async function findHeldEnds(options: ActionsOptions, place: HeldPlace): Promise<boolean> {
  const { account, requestId, cause, depth } = place
  const as = { account, service: "actions", roles: ["viewer"], cause, depth } as const
  const held = await options.operations.call(heldOperationsGet, { request: requestId }, as).catch((error: unknown) => {
    // Past its retention.
    if (hasCode(error, "approvals.request-not-found")) return undefined
    throw error
  })
  const end = held ? endOf(held) : notApproved("is not on record any more")
  if (end) await settle(options, place, end)
  return end !== undefined
}

function endOf({ state, error }: OutputOf<typeof heldOperationsGet>): HeldEnd | undefined {
  if (state === "done") return { state: "succeeded", error: null }
  if (state === "discarded") return notApproved("was not approved")
  if (state !== "failed") return undefined
  return {
    state: "dead",
    error: toRunError(error ?? { code: "request.internal", message: "the approved call failed" }),
  }
}

async function settle(
  options: ActionsOptions,
  { account, requestId, cause }: Omit<HeldPlace, "depth">,
  { state, error }: HeldEnd,
): Promise<void> {
  const { database, clock, standing } = options
  const found = state === "succeeded" && standing.findStandingChange(database, { account, cause, causedBy: requestId })
  const started = (await found) || null
  const isTold = await database.transaction(async (tx) => {
    const run = await settleHeld(tx, { account, requestId, state, error, started, now: clock.now() })
    if (run) await appendEvents(tx, [runEvent(options, run)])
    return run !== undefined
  })
  if (isTold) options.eventsWritten()
}

/** Runs that have waited for long: their approval may have ended while nobody heard. */
export async function askForHeld(options: ActionsOptions): Promise<boolean> {
  const { database, clock } = options
  const { heldMilliseconds: milliseconds, dueGroupsMax: limit } = performingLimits
  const runs = await takeHeldDue(database, { now: clock.now(), milliseconds, limit })
  for (const run of runs) if (run.requestId !== null) await findHeldEnds(options, { ...run, requestId: run.requestId })
  return runs.length === limit
}
