import type { AnyOperation } from "@signalbox/contracts/operation"
import type { Tx } from "../storage/database.ts"
import type { Caller } from "./handler.ts"
import type { Destination } from "./routing-map.ts"
import type { ActionMessage, Firing, ForeignRules } from "./rule-ports.ts"

/** A call that has passed the stages of one server and is carried out by another: what goes over the wire (D7). */
export interface ForwardedCall {
  readonly operation: string
  /** As the stages left it; checked against the schema once more. */
  readonly input: unknown
  readonly caller: Caller
  readonly requestId: string
  readonly cause: string
  readonly causedBy?: string
  readonly depth: number
  readonly sourceAddress?: string
  readonly signal: AbortSignal
  /** Of a change: what makes it one, however often it is sent. */
  readonly once?: ForwardedOnce
}

export interface ForwardedOnce {
  /** Left out, each call is one of its own: that of a service that calls another. */
  readonly key?: string
  readonly bodyHash: string
  /** Whether rules may follow it. */
  readonly isFollowed: boolean
  /** What a rules service that is not ours wants done then, in the place of our rules. */
  readonly messages?: readonly ActionMessage[]
  /** The approval that it was held for: asked once more in the transaction of the change. */
  readonly approvalRequest?: string
  /** The input as the caller sent it, where rules changed it since. */
  readonly asked?: unknown
}

export interface ForwardedReply {
  readonly value: unknown
  readonly repeated: boolean
  readonly started?: { readonly event: string; readonly firings: readonly Firing[]; readonly runs: readonly string[] }
}

/** Sends calls to other processes. */
export interface RemoteCaller {
  /**
   * @throws routing.destination-unreachable, routing.destination-misbehaved, routing.destination-refused, the signal's
   * reason where it was aborted, and whatever the destination refuses the call with
   */
  call(to: Destination, operation: AnyOperation, call: ForwardedCall): Promise<ForwardedReply>
}

/** Takes calls of other servers of this installation. */
export interface CallReceiver {
  /**
   * The call that a token and a body stand for.
   *
   * @throws routing.call-refused
   */
  receive(sent: {
    readonly operation: string
    readonly token: string | undefined
    readonly body: unknown
    readonly signal: AbortSignal
  }): Promise<ForwardedCall>
}

/** Where a server takes calls that another one has let through. */
export const forwardedCallPath = "/internal/v1/calls"

/** Asks in the transaction of a change whether the call that was held is still to run. */
export interface ApprovalGuards {
  /** @throws approvals.request-ended where it was settled otherwise meanwhile */
  checkApproved(tx: Tx, call: { readonly account: string; readonly requestId: string }): Promise<void>
}

/** What a router needs for calls that leave this process, and for those that come from others. */
export interface Elsewhere {
  readonly remote: RemoteCaller
  readonly guards: ApprovalGuards
  readonly rules: ForeignRules
}

/** For routers whose map sends no call elsewhere. */
export const nowhere: Elsewhere = {
  remote: { call: () => Promise.reject(new Error("no call goes elsewhere")) },
  guards: { checkApproved: () => Promise.reject(new Error("no call was held")) },
  rules: { decide: () => Promise.reject(new Error("no other rules service is asked")) },
}
