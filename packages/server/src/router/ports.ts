import type { RollbackOutcome, TaskOrder, TaskOutcome } from "@signalbox/contracts/fleet/agent-protocol"
import type { CallInputOf, OperationDeclaration, OutputOf } from "@signalbox/contracts/operation"
import type { RoleName } from "@signalbox/contracts/identity/roles"
import type { z } from "zod"
import type { Caller } from "./handler.ts"

/**
 * The ports of the router's stages (D1). Services implement them, `compose.ts` joins them, so that no stage reaches
 * into a service and no service into another.
 */

/** Establishes who calls from what the connection carries; undefined where the credential is not of its kind. */
export interface Authenticator {
  authenticate(credential: Credential): Promise<Caller | undefined>
}

export interface Credential {
  /** The bearer token. */
  readonly token: string
  readonly sourceAddress?: string
  readonly now: number
}

/** What the gate stage answers: let it through, refuse it, or hold it until a request is approved. */
export type GateVerdict =
  | { readonly kind: "pass" }
  | { readonly kind: "deny"; readonly reason: string }
  | { readonly kind: "hold"; readonly requestId: string; readonly requestUrl: string }

export interface GateCall {
  readonly operation: string
  readonly caller: Caller
  readonly input: unknown
  readonly cause: string
  readonly now: number
}

/** Rules, freeze calendars and approval associations that may stop a changing call before its handler runs. */
export interface GateFinder {
  find(call: GateCall): GateVerdict | Promise<GateVerdict>
}

/** Told of each call that was carried out; keeps what metering needs (D21). */
export interface UseRecorder {
  record(use: {
    readonly operation: string
    readonly caller: Caller
    readonly requestId: string
    readonly now: number
  }): void
}

/** How a service calls an operation of another service: through the router, with origin `internal` (D3). */
export interface OperationCaller {
  call<O extends OperationDeclaration<z.ZodObject, z.ZodType>>(
    operation: O,
    input: CallInputOf<O>,
    as: {
      readonly account: string
      readonly service: string
      readonly roles: readonly RoleName[]
      readonly cause: string
      readonly causedBy?: string
      readonly depth: number
    },
  ): Promise<OutputOf<O>>
}

/**
 * Carries orders of the execution engine to nodes and their reports back. The fleet implements it over agent
 * sessions; the benchmark in process. An order may be given again; a report may come again: both are told apart by
 * (key, phase). A report is acknowledged only after it is durable.
 */
export interface Executor {
  /** Sends now, or as soon as the node has a session; an order whose `startBefore` passed unsent is dropped. */
  dispatch(orders: readonly ExecutorOrder[]): void
  /** Tells the executor that a report is durable. */
  acknowledge(
    reports: ReadonlyArray<{ readonly nodeId: string; readonly key: string; readonly phase: "task" | "rollback" }>,
  ): void
  /** Whoever owns executions listens here; there is one listener. */
  listen(listener: (report: ExecutorReport) => void): void
}

export type ExecutorOrder =
  | {
      readonly type: "start"
      readonly nodeId: string
      readonly key: string
      readonly startBefore: number
      readonly order: TaskOrder
    }
  | { readonly type: "rollback"; readonly nodeId: string; readonly key: string }
  | { readonly type: "kill"; readonly nodeId: string; readonly key: string; readonly reason: string }

export type ExecutorReport =
  /** The node of a start order doesn't exist any more: the order was not sent and will not be. */
  | { readonly type: "vanished"; readonly nodeId: string; readonly key: string }
  | {
      readonly type: "accepted" | "started"
      readonly nodeId: string
      readonly key: string
      readonly phase: "task" | "rollback"
    }
  | {
      readonly type: "progress"
      readonly nodeId: string
      readonly key: string
      readonly step: number
      readonly stepsCount: number
      readonly name: string
      readonly percent?: number
      readonly message?: string
    }
  | {
      readonly type: "output"
      readonly nodeId: string
      readonly key: string
      readonly step: number
      readonly stream: "stdout" | "stderr"
      readonly text: string
    }
  | { readonly type: "task-finished"; readonly nodeId: string; readonly key: string; readonly outcome: TaskOutcome }
  | {
      readonly type: "rollback-finished"
      readonly nodeId: string
      readonly key: string
      readonly outcome: RollbackOutcome
    }

/** Nothing is gated until the services that gate exist. */
export const noGates: GateFinder = { find: () => ({ kind: "pass" }) }

/** Nothing is metered until the metering service exists. */
export const noUses: UseRecorder = { record: () => undefined }
