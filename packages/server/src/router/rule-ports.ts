import type { RuleDefinition } from "@signalbox/contracts/rules/rule-document"
import type { VariableType } from "@signalbox/expressions/variable-type"
import type { Caller } from "./handler.ts"
import type { Destination } from "./routing-map.ts"

/**
 * The port of the rules stage (D1): every server holds the published rules of each account compiled in memory, so that
 * no call pays a round trip. A rules service that is asked over the wire answers with promises.
 */

/** A call as rules see it: secrets of its input are marked. */
export interface RuleCall {
  readonly account: string
  readonly operation: string
  readonly caller: Pick<Caller, "principal" | "kind" | "roles" | "teams">
  readonly input: unknown
}

/** A rule as it was published: its name and version. */
export interface Firing {
  readonly rule: string
  readonly version: number
}

/** A rule with what it says of why. */
export interface ClaimingRule extends Firing {
  readonly reason?: string
}

/**
 * What the rules before an operation demand. `deny` wins over everything; a rewrite is applied and checked, then the
 * rules that deny, delay and ask for approval look at the call once more; the longest delay and every template counts.
 */
export type RuleDecision =
  | { readonly kind: "pass" }
  | {
      readonly kind: "deny"
      readonly by: Firing
      /** The second where the rule's condition could not be evaluated: a gate fails closed. */
      readonly code: "rules.denied" | "rules.condition-failed"
      readonly reason: string
    }
  | {
      readonly kind: "demand"
      /** Fields of the input and their new values, by the rule that sets them. */
      readonly rewrites: ReadonlyArray<Firing & { readonly fields: Readonly<Record<string, unknown>> }>
      readonly delayMilliseconds: number
      /** Approval templates, each once. */
      readonly templates: readonly string[]
      /** Everybody who had a part in it, in the order of their names. */
      readonly by: readonly ClaimingRule[]
    }

export type OrLater<T> = T | Promise<T>

/** An event of the outbox as rules see it. */
export interface RuleEvent {
  readonly id: string
  readonly type: string
  readonly subject: string
  /** Milliseconds since 1970. */
  readonly time: number
  readonly cause: string
  readonly depth: number
  readonly principal: string
  readonly data: unknown
}

export interface RuleFault extends Firing {
  readonly message: string
}

export interface EventMatch {
  /** In the order of their names. */
  readonly firings: readonly Firing[]
  /** Correlations of which the event is a member: which list, and which place in it. */
  readonly members: ReadonlyArray<Firing & { readonly list: "all" | "any" | "none" | "after"; readonly index: number }>
  /** Rules whose condition could not be evaluated: they don't fire. */
  readonly faults: readonly RuleFault[]
}

/** A version of a rule as it was published: what its firing does. */
export interface PublishedRule extends Firing {
  /** In whose name, and with whose authority, it acts. */
  readonly author: string
  readonly definition: RuleDefinition
  /** What its groupings and the inputs of its operations were checked against, and see. */
  readonly variables: () => Readonly<Record<string, VariableType>>
  /** Milliseconds since 1970. */
  readonly publishedAt: number
}

/** Says which rules an operation or an event sets going. Other accounts' rules are never asked. */
export interface RuleMatcher {
  /** One look-up, no allocation: whether any rule of the account is asked at this phase of the operation. */
  isAsked(account: string, operation: string, phase: "before" | "after"): boolean
  /** Whether a condition that is asked before the operation reads this field of its input, or the input as a whole. */
  readsInput(account: string, operation: string, field: string): boolean
  decide(call: RuleCall): OrLater<RuleDecision>
  /** The rules whose following actions a call that was carried out sets going. */
  follow(call: RuleCall & { readonly output: unknown }): OrLater<readonly Firing[]>
  /** Whether the event sets anything going. Asked once for each event: conditions without a result are counted here. */
  isAwaited(account: string, event: RuleEvent): boolean
  /** For `operation.done` the firings that the call's reply told of. */
  matchEvent(account: string, event: RuleEvent): EventMatch
  /** Types of events, and patterns, that rules of any account wait for: no other event has to be looked at. */
  eventTypes(): readonly string[]
  /** From memory, or where it is not the present version any more from the database. */
  find(account: string, firing: Firing): Promise<PublishedRule | undefined>
  /** Whether there is an enabled rule of that name, in whichever version. Only a yes may be up to a second late. */
  isInForce(account: string, rule: string): Promise<boolean>
}

/**
 * A following action that a rules service which is not ours asks for: what `actions.perform` is told of it once the call
 * was carried out. Its rule is `<destination>/<name>`, so it is never taken for one of ours.
 */
export interface ActionMessage extends Firing {
  /** Which of the rule's actions, from 0. */
  readonly number: number
  readonly operation: string
  readonly targets: readonly string[]
  readonly input: Readonly<Record<string, unknown>>
  /** In whose name it is performed. */
  readonly author: string
}

/** Asks the rules service that a row of the routing map names. */
export interface ForeignRules {
  /** @throws routing.destination-unreachable, routing.destination-misbehaved: a gate fails closed */
  decide(to: Destination, call: RuleCall): Promise<ForeignDecision>
}

export interface ForeignDecision {
  readonly decision: RuleDecision
  /** What follows where the call is carried out. */
  readonly messages: readonly ActionMessage[]
}

/** The event that tells of a call that `after` rules follow; subject: the call's request. */
export const operationDoneType = "operation.done"

/** What the data of `operation.done` are. */
export interface OperationDone {
  readonly operation: string
  readonly caller: RuleCall["caller"]
  /** Secrets are marked. */
  readonly input: unknown
  /** Secrets are left out; null where it is longer than `operationDoneBytesMax`. */
  readonly output: unknown
  readonly firings: readonly Firing[]
  /** Of a rules service that is not ours, in the place of firings. */
  readonly messages?: readonly ActionMessage[]
}

export const operationDoneBytesMax = 64 * 1024

const pass: RuleDecision = { kind: "pass" }

/** No rules until the service that has them exists. */
export const noRules: RuleMatcher = {
  isAsked: () => false,
  readsInput: () => false,
  decide: () => pass,
  follow: () => [],
  isAwaited: () => false,
  matchEvent: () => ({ firings: [], members: [], faults: [] }),
  eventTypes: () => [],
  find: () => Promise.resolve(undefined),
  isInForce: () => Promise.resolve(false),
}
