import type {
  CommandOrder,
  RollbackOutcome,
  StepResult,
  TaskOrder,
  TaskOutcome,
} from "@signalbox/contracts/fleet/agent-protocol"
import type { CallInputOf, OperationDeclaration, OutputOf, Reply } from "@signalbox/contracts/operation"
import type { RoleName } from "@signalbox/contracts/identity/roles"
import type { z } from "zod"
import type { Sql, Tx } from "../storage/database.ts"
import type { CallAttributes } from "./gate-ports.ts"
import type { Caller } from "./handler.ts"
import type { ClaimingRule } from "./rule-ports.ts"

/**
 * The ports of the router's stages (D1). Services implement them, `compose.ts` joins them, so that no stage reaches
 * into a service and no service into another.
 */

/** Establishes who calls from what the connection carries; undefined where the credential is not of its kind. */
export interface Authenticator {
  authenticate(credential: Credential): Caller | undefined | Promise<Caller | undefined>
}

export interface Credential {
  /** The bearer token. */
  readonly token: string
  readonly sourceAddress?: string
  readonly now: number
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
      /** Of a change that has to be made once: its idempotency key, and what tells another body. Left out, each call is one. */
      readonly once?: { readonly key: string; readonly bodyHash: string }
    },
  ): Promise<OutputOf<O>>
}

/** A call that nobody makes at this moment: a schedule's, later a rule's or a held operation's. */
export interface StandingCall {
  readonly operation: string
  /** The raw input: checked against the operation's schema, as it is then. */
  readonly input: unknown
  /** In whose name, with the authority that its author has now. */
  readonly caller: Caller
  /** The same for each repeat of this call: it is carried out once. */
  readonly idempotencyKey: string
  readonly cause: string
  readonly causedBy: string
  readonly depth: number
  /** Whose action it is, for those who are asked to approve it. */
  readonly rule?: ClaimingRule
  /** The approval that it was held for: no gate is asked again, but it must still be what was approved. */
  readonly approval?: StandingApproval
}

export interface StandingApproval {
  /** The request that was approved: another process that carries the call out makes its own guard of it. */
  readonly request: string
  readonly digest: string
  readonly bodyHash: string
  /** Asked first in the transaction of the change: throws where the call was settled otherwise meanwhile. */
  readonly guard: (tx: Tx) => Promise<void>
}

/** How standing calls enter: through every stage of the router but authentication (D3: origin `edge`). */
export interface StandingCaller {
  /** @throws request.invalid-input where the operation changes nothing, and whatever the operation throws */
  callStanding(call: StandingCall): Promise<Reply<unknown>>
}

/** Plans a call that is held, again: with the authority and the schema of now. */
export interface CallPlanner {
  /** @throws identity.permission-denied, request.invalid-input, and what the operation's plan throws */
  planCall(call: Pick<StandingCall, "operation" | "input" | "caller" | "cause" | "causedBy" | "depth">): Promise<{
    readonly input: unknown
    readonly content: Readonly<Record<string, unknown>>
    readonly title: string
    readonly attributes: CallAttributes
    readonly bodyHash: string
    /** Approval templates that rules demand. */
    readonly templates: readonly string[]
  }>
}

/** Tells whether a standing call was carried out, for those who died before they knew. */
export interface StandingRecord {
  /** The subject of the change that a standing call made; undefined where none is on record. */
  findStandingChange(
    sql: Sql,
    call: Pick<StandingCall, "cause" | "causedBy"> & { account: string },
  ): Promise<string | undefined>
  /** What the call under this key replied, for 24 hours; undefined where it was not carried out with this input. */
  findStandingReply(
    sql: Sql,
    call: { readonly account: string; readonly principal: string; readonly key: string; readonly bodyHash: string },
  ): Promise<{ readonly value: unknown } | undefined>
  /** Whether the call under this key was sent to a service outside, and what came of it isn't known, or not yet. */
  findStandingSend(
    sql: Sql,
    call: { readonly account: string; readonly principal: string; readonly key: string },
  ): Promise<"under-way" | "unknown" | undefined>
}

/** Says what a principal may do now, for what it left behind to be done later. */
export interface PrincipalDirectory {
  /** By id, or `service-account:<name>`. Undefined where its credential was revoked, has expired or never was. */
  findPrincipal(account: string, principal: string, now: number): Caller | undefined
}

/** Who can call, whether it may at the moment or not. */
export interface Principal {
  /** `usr_…`, `sva_…`, or `key:key_…` for a key that belongs to nobody. */
  readonly id: string
  readonly kind: "user" | "service-account" | "key"
  readonly name: string
  readonly displayName: string
  readonly email?: string
  /** By hand and by claims. */
  readonly teams: readonly string[]
  /** What it may do now; undefined where it is disabled, revoked or expired. */
  readonly caller?: Caller
}

/** Knows everybody of an account, in memory: for approvers and whoever else names people. */
export interface PeopleDirectory extends PrincipalDirectory {
  /** By id, or by the name of a user or service account; disabled ones too. */
  describePrincipal(account: string, reference: string, now: number): Principal | undefined
  /** Everybody, sorted by id. */
  listPrincipals(account: string, now: number): readonly Principal[]
}

/** Answers in memory whether maintenance windows are open, so that an execution may ask every second. */
export interface WindowState {
  /** Open where any of the windows is; no names: always open. A window that doesn't exist is closed for ever. */
  stateOf(account: string, names: readonly string[], now: number): WindowsAnswer
}

export interface WindowsAnswer {
  /** New work may start: inside a window, before its cutoff. */
  readonly open: boolean
  /** When `open` changes next; null where it never does. */
  readonly changesAt: number | null
  /** The window that is open, or that opens next. */
  readonly name: string | null
}

/** Answers in memory whether change calendars are open. */
export interface CalendarState {
  /** Closed where any of them is; no names: open. One that doesn't exist, or is unknown, is closed. */
  stateOf(account: string, names: readonly string[], at: number): CalendarsAnswer
}

export interface CalendarsAnswer {
  readonly open: boolean
  /** When `open` changes next; null where it never does, or nobody knows. */
  readonly changesAt: number | null
  /** The calendar that is closed, or that closes next. */
  readonly name: string | null
  /** That calendar was never fetched, is too old, or isn't there. */
  readonly unknown?: true
}

/** Finds in memory what is held because a change calendar is closed. */
export interface ChangeFreezes {
  /** The closed calendars that hold such a call; one whose state is unknown is closed. */
  find(account: string, call: FreezableCall, at: number): readonly Freeze[]
  /** Whether any calendar that holds calls is closed, whichever calls it holds. */
  isAnyClosed(account: string, at: number): boolean
}

export interface FreezableCall {
  readonly operation: string
  /** What else calendars select by: `workflow`. */
  readonly attributes: Readonly<Record<string, string>>
}

export interface Freeze {
  readonly calendar: string
  /** The approval template whose approvers are needed beside the regular ones; null where none is named. */
  readonly freezeTemplate: string | null
  /** When the calendar opens; null where it never does, or nobody knows. */
  readonly opensAt: number | null
  /** The event that takes place. */
  readonly event: string | null
  readonly unknown: boolean
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
  /** Another server runs this execution now: orders of it that no node has confirmed go out no more. */
  forget(executionId: string): void
  /** What came of a step that the node asked the server to perform; lost where the node has no session, and asked again. */
  answer(nodeId: string, answer: StepAnswer): void
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
      /** Values of the secrets that the order names: sent to the node, kept nowhere. */
      readonly secrets?: Readonly<Record<string, string>>
    }
  | {
      readonly type: "rollback"
      readonly nodeId: string
      readonly key: string
      /** Present where it is a task of its own: a node that is not there by then is unreachable. */
      readonly startBefore?: number
      /** Of a task's own rollback: when the run gives it up. A node that comes back later is not told any more. */
      readonly until?: number
      readonly secrets?: Readonly<Record<string, string>>
    }
  | { readonly type: "kill"; readonly nodeId: string; readonly key: string; readonly reason: string }

/** Which step of which attempt a node asks the server to perform. */
export interface StepRequest {
  readonly key: string
  readonly phase: "task" | "rollback"
  readonly step: number
  readonly try: number
  /** Outputs of earlier steps, by step id and name. */
  readonly values: Readonly<Record<string, Readonly<Record<string, string>>>>
}

export interface StepAnswer {
  readonly key: string
  readonly phase: "task" | "rollback"
  readonly step: number
  readonly try: number
  readonly result: StepResult
  /** What the step's `outputs` are made of. */
  readonly reply?: Readonly<Record<string, unknown>>
  /** The order's secrets once more, for a node that waited so long that it may have lost them; written down nowhere. */
  readonly secrets?: Readonly<Record<string, string>>
}

export type ExecutorReport =
  | ({ readonly type: "step-request"; readonly nodeId: string } & StepRequest)
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

/** A secret as it is used: for masking and for steps, never for a record. */
export interface SecretValue {
  readonly version: number
  readonly value: string
}

/** Gives services the values of secrets. Values stay in memory: nothing that is written down may hold one. */
export interface SecretReader {
  /**
   * The current values, by name.
   *
   * @throws secrets.not-found, secrets.unreadable, secrets.reference-refused, secrets.reference-unreadable
   */
  read(account: string, names: readonly string[]): Promise<Readonly<Record<string, SecretValue>>>
  /** The values that these versions had; the last few are kept. @throws as `read` */
  readVersions(
    account: string,
    places: ReadonlyArray<{ readonly name: string; readonly version: number }>,
  ): Promise<Readonly<Record<string, SecretValue>>>
  /** The current versions, by name, of those that there are: what plans record. */
  versions(account: string, names: readonly string[]): Promise<Readonly<Record<string, number>>>
}

/** Encrypts what rests in the database for a while and may hold secrets, each text for one place. */
export interface Sealer {
  seal(place: SealedPlace, text: string): string
  /** @throws secrets.unreadable */
  unseal(place: SealedPlace, text: string): string
}

export interface SealedPlace {
  readonly account: string
  /** What it is, a word: `held-operation`. */
  readonly use: string
  readonly id: string
}

/** Where sealed texts lie in rows of a service, so that they can be wrapped anew when the master key is changed. */
export interface SealedTexts {
  /** As in their places. */
  readonly use: string
  /** Those that don't begin with `otherThan`, in the order of their keys. */
  list(
    sql: Sql,
    page: { readonly after: string; readonly limit: number; readonly otherThan: string },
  ): Promise<SealedText[]>
  /** Puts another text in its place, if it is still the same. */
  replace(sql: Sql, row: SealedText, text: string): Promise<void>
}

export interface SealedText {
  readonly key: string
  readonly place: Pick<SealedPlace, "account" | "id">
  readonly text: string
}

/** Signs texts that come back to this installation, by HMAC-SHA256, for one use. */
export interface Mac {
  make(text: string): Uint8Array
  /** By each of the keys that are still honoured; the present one first. */
  all(text: string): Uint8Array[]
}

/** Runs a command that changes nothing on a node, beside whatever it does: for health checks. */
export interface NodeProbes {
  /** Any end is a result, an unreachable node too. */
  probe(
    nodeId: string,
    probe: {
      readonly command: CommandOrder
      readonly timeoutMilliseconds: number
      /** For which run: a node may want its approval. */
      readonly execution: string
    },
  ): Promise<StepResult>
}

/** Finds files that steps put on nodes. */
export interface ArtifactFinder {
  /** The newest that is ready, by its name or its digest; `path` is where an agent fetches the content. */
  find(
    account: string,
    nameOrDigest: string,
  ): Promise<
    { readonly name: string; readonly digest: string; readonly bytes: number; readonly path: string } | undefined
  >
}
