/**
 * The life of a run. Pure; what the events mean is its callers' to know.
 *
 *            claim            done
 *   queued ---------> running -----> succeeded
 *     |  ^              | | |
 *     |  | claim        | | +--hold--> held --done--> succeeded      held --refuse--> dead, --cancel--> cancelled
 *     |  +-- failed <---+ |
 *     |        retry      +--give-up--> dead --redrive--> queued
 *     +--cancel--> cancelled <--cancel-- failed, running
 *
 * `stopped` is a state that runs are made in, and stay in. A running run is cancelled only by its own server, where its
 * rule is gone. A run whose server died is claimed anew: running --claim--> running.
 */
import type { actionStates } from "@signalbox/contracts/actions/operations"

export type ActionState = (typeof actionStates)[number]
export type ActionEvent = "claim" | "done" | "hold" | "retry" | "give-up" | "cancel" | "redrive"

export const actionTransitions: Readonly<Record<ActionState, Readonly<Partial<Record<ActionEvent, ActionState>>>>> = {
  queued: { claim: "running", cancel: "cancelled" },
  running: {
    claim: "running",
    done: "succeeded",
    hold: "held",
    retry: "failed",
    "give-up": "dead",
    cancel: "cancelled",
  },
  failed: { claim: "running", cancel: "cancelled" },
  held: { done: "succeeded", "give-up": "dead", cancel: "cancelled" },
  dead: { redrive: "queued" },
  succeeded: {},
  cancelled: {},
  stopped: {},
}

export type PerformResult =
  | { readonly kind: "done"; readonly started?: string }
  | { readonly kind: "held"; readonly requestId: string; readonly requestUrl: string }
  | { readonly kind: "cancelled"; readonly code: string; readonly message: string }
  | { readonly kind: "failed"; readonly code: string; readonly message: string; readonly isRetryable: boolean }

/** What happens to a running run after a try. */
export function decideNext(
  result: PerformResult,
  at: { readonly attempts: number; readonly fraction: number; readonly pausesMilliseconds: readonly number[] },
): { readonly event: ActionEvent; readonly inMilliseconds?: number } {
  switch (result.kind) {
    case "done":
      return { event: "done" }
    case "held":
      return { event: "hold" }
    case "cancelled":
      return { event: "cancel" }
    case "failed": {
      const pause = at.pausesMilliseconds[at.attempts - 1]
      if (!result.isRetryable || pause === undefined) return { event: "give-up" }
      return { event: "retry", inMilliseconds: Math.round(pause * (0.8 + 0.4 * at.fraction)) }
    }
  }
}

/** Why an event must set nothing going, though a rule matches it. */
export function findLoop(
  event: { readonly depth: number },
  chain: {
    readonly rule: string
    readonly ruleDepths: number
    readonly depthMax: number
    readonly sameRuleMax: number
  },
): string | undefined {
  if (event.depth >= chain.depthMax)
    return `the event is ${event.depth} steps from the first call of its story; a chain stops at ${chain.depthMax}`
  if (chain.ruleDepths < chain.sameRuleMax) return undefined
  return `"${chain.rule}" has acted at ${chain.ruleDepths} depths of this story already; a rule stops there`
}
