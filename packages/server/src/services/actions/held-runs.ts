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
import { removedReason, withdrawIfRemoved } from "./removed-rules.ts"
import { settleHeld, takeHeldDue, type RunError, type RunRow } from "./run-store.ts"

export type HeldRun = RunRow & { readonly requestId: string }

interface HeldEnd {
  readonly state: "succeeded" | "dead" | "cancelled"
  readonly error: RunError | null
}

/** Of the events that tell of an end. */
interface EndData extends Partial<RunError> {
  readonly by?: { readonly key: string }
}

const notApproved = (how: string): HeldEnd => ({
  state: "cancelled",
  error: { code: "actions.not-approved", message: `its approval request ${how}` },
})

const ruleRemoved = (rule: string): HeldEnd => ({
  state: "cancelled",
  error: { code: "actions.rule-removed", message: removedReason(rule) },
})

const rulePrefix = "rule:"

const ends: Readonly<Record<string, (data: EndData) => HeldEnd>> = {
  "approval-request.ran": () => ({ state: "succeeded", error: null }),
  "approval-request.run-failed": (data) => failedEnd(data),
  "approval-request.denied": () => notApproved("was denied"),
  "approval-request.expired": () => notApproved("has expired"),
  // Withdrawn as the rule that made the call, and that is gone.
  "approval-request.cancelled": ({ by }) =>
    by?.key.startsWith(rulePrefix) === true
      ? ruleRemoved(by.key.slice(rulePrefix.length))
      : notApproved("was cancelled"),
}

function failedEnd({ code = "request.internal", message = "the approved call failed" }: Partial<RunError>): HeldEnd {
  return { state: code === "actions.rule-removed" ? "cancelled" : "dead", error: toRunError({ code, message }) }
}

export function heldConsumer(options: ActionsOptions): Consumer {
  return {
    name: "actions.held",
    types: Object.keys(ends),
    isWanted: ({ principal, data }) =>
      principal.startsWith(rulePrefix) || (data as { readonly held?: boolean }).held === true,
    async handle({ account, subject: requestId, type, cause, data }) {
      const end = ends[type]?.(data as EndData)
      if (end) await settle(options, { account, requestId, cause }, end)
    },
  }
}

/** Asks for what events may have told before the run was there to hear it: of its rule, and of its request. */
export async function lookAfterHeld(options: ActionsOptions, run: HeldRun): Promise<void> {
  if (await withdrawIfRemoved(options, run)) return
  const { account, requestId, cause, depth } = run
  const as = { account, service: "actions", roles: ["viewer"], cause, depth } as const
  const held = await options.operations.call(heldOperationsGet, { request: requestId }, as).catch((error: unknown) => {
    // Past its retention.
    if (hasCode(error, "approvals.request-not-found")) return undefined
    throw error
  })
  const end = held ? endOf(held) : notApproved("is not on record any more")
  if (end) await settle(options, run, end)
}

function endOf({ state, error }: OutputOf<typeof heldOperationsGet>): HeldEnd | undefined {
  if (state === "done") return { state: "succeeded", error: null }
  if (state === "discarded") return notApproved("was not approved")
  return state === "failed" || state === "outcome-unknown" ? failedEnd(error ?? {}) : undefined
}

async function settle(
  options: ActionsOptions,
  { account, requestId, cause }: Pick<HeldRun, "account" | "requestId" | "cause">,
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
  for (const run of runs) if (run.requestId !== null) await lookAfterHeld(options, { ...run, requestId: run.requestId })
  return runs.length === limit
}
