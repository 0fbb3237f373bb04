import type { ErrorCode } from "@signalbox/kernel/error-catalogue"
import type { CallContext, Caller } from "./handler.ts"
import type { ClaimingRule } from "./rule-ports.ts"

/** The port of the gate stage (D1): rules, change calendars and approval associations that may hold a call. */

/** What associations and calendars select a call by: `operation`, `type`, `action`, `workflow`, `product`, … */
export type CallAttributes = Readonly<Record<string, string>>

/** What a caller may ask for where its call is held. */
export interface HoldWishes {
  /** It runs no earlier, however early it is approved. Milliseconds. */
  readonly notBefore?: number
  /** It runs while this maintenance window is open. */
  readonly window?: string
  /** Why closed calendars are to be passed by; never the approvers. */
  readonly breakGlass?: string
}

/** What rules demand of a call: it is held for the approvers of each template, and runs no earlier than its time. */
export interface GateDemands {
  readonly templates: readonly string[]
  /** Milliseconds since 1970. */
  readonly notBefore?: number
  readonly by: readonly ClaimingRule[]
}

/** A rule that has a part in a call that waits for approval, for those who answer. */
export interface AskingRule {
  readonly name: string
  readonly version: number
  /** It wants the call approved, delayed or rewritten; or the call is its action. */
  readonly part: "gates" | "acts"
  readonly reason?: string
}

/** What a gate looks at: enough to say in memory whether something holds the call. */
export interface GateCall {
  readonly operation: string
  readonly caller: Caller
  readonly attributes: CallAttributes
  readonly wishes: HoldWishes
  readonly demands?: GateDemands
  readonly now: number
}

/** What the gate stage answers: let it through, refuse it, or hold it until a request is approved. */
export type GateVerdict =
  | {
      readonly kind: "pass"
      /** Calendars that are closed, and that the call skips: to be recorded before it runs. */
      readonly skipped?: readonly string[]
    }
  | {
      readonly kind: "deny"
      readonly code: ErrorCode
      readonly reason: string
      readonly details?: Readonly<Record<string, unknown>>
    }
  | { readonly kind: "hold" }

/** A call that is to be held: all that running it later takes, and what the members see and vote on. */
export interface HeldCall extends GateCall {
  readonly context: CallContext
  /** What is run once it is approved; may hold secrets, so it is kept sealed. */
  readonly input: unknown
  readonly content: Readonly<Record<string, unknown>>
  /** One line for lists and mails. */
  readonly title: string
  readonly rules: readonly AskingRule[]
  /** The caller's key: a repeat finds the same request, and later what came of the call. */
  readonly idempotency: { readonly key: string; readonly bodyHash: string }
}

/** Rules, change calendars and approval associations that may stop a changing call before its handler runs. */
export interface GateFinder {
  find(call: GateCall): GateVerdict
  /** Records a call that passes because it skips closed calendars. */
  recordSkip(call: GateCall & { readonly context: CallContext; readonly calendars: readonly string[] }): Promise<void>
  /** Keeps a call for which `find` said `hold`, with the request for its approval. */
  hold(call: HeldCall): Promise<{ readonly requestId: string; readonly requestUrl: string }>
}

/** Nothing is gated until the services that gate exist. */
export const noGates: GateFinder = {
  find: () => ({ kind: "pass" }),
  hold: () => Promise.reject(new Error("nothing was to be held")),
  recordSkip: () => Promise.reject(new Error("nothing was skipped")),
}
