import type {
  AnyOperation,
  GateAttribute,
  InputOf,
  OperationDeclaration,
  OutputOf,
} from "@signalbox/contracts/operation"
import type { Permission, RoleName } from "@signalbox/contracts/identity/roles"
import type { Duplex } from "node:stream"
import type { WebSocket } from "ws"
import type { z } from "zod"
import type { BackgroundTask, CronTask } from "../storage/background-queue.ts"
import type { Sql, Tx } from "../storage/database.ts"
import type { Consumer } from "../storage/dispatcher.ts"
import type { Expander } from "../storage/outbox.ts"

/** Who calls. Made by an authenticator, never by a handler. */
export interface Caller {
  readonly account: string
  /**
   * `usr_…`, `sva_…`, `key:key_…` (a key that belongs to nobody), `node:nod_…`, `enrollment:enk_…`, `schedule:<name>`,
   * `rule:<name>`, `feed:cfd_…`, `hook:hok_…`, `link:apr_…:apl_…`, `system:<service>`, `anonymous`.
   */
  readonly principal: string
  readonly kind:
    | "key"
    | "user"
    | "service-account"
    | "agent"
    | "enrollment"
    | "feed"
    | "hook"
    | "link"
    | "system"
    | "schedule"
    | "rule"
    | "anonymous"
  readonly roles: readonly RoleName[]
  readonly permissions: ReadonlySet<Permission>
  readonly expiresAt?: number
  /** Narrowed to the nodes that this tag query finds, as they are tagged now. */
  readonly nodes?: string
  /** Of a schedule or a rule: the principal who made it, on whose authority it rests. */
  readonly author?: string
  /** What it showed, where that is not the principal itself: `key_…` or `uss_…`. */
  readonly credential?: string
  /** Of a user or service account. */
  readonly name?: string
  readonly teams?: readonly string[]
}

/** What a handler knows of the call beside its input. Instants are milliseconds. */
export interface CallContext {
  readonly caller: Caller
  readonly account: string
  readonly requestId: string
  /** The id that joins the whole story, its direct parent, and how far down the chain this is (D12). */
  readonly cause: string
  readonly causedBy?: string
  readonly depth: number
  readonly now: number
  readonly sourceAddress?: string
  readonly signal: AbortSignal
}

export interface ReadContext extends CallContext {
  readonly sql: Sql
}

/** An event of the aggregate that the call changes; written in the same transaction. */
export interface NewEvent {
  /** The aggregate's id: the leading key of its rows. */
  readonly aggregate: string
  /** `<noun>.<past participle>`, as in `node.enrolled`. */
  readonly type: string
  readonly subject: string
  /** The subject's version after this change; grows by one for each event of the subject. */
  readonly version: number
  readonly data: Readonly<Record<string, unknown>>
  /** The story that it belongs to, where that is not this call's own: of work that an earlier call asked for. */
  readonly story?: EventStory
}

export interface EventStory {
  readonly account: string
  readonly cause: string
  readonly causedBy: string
  readonly depth: number
}

export interface ChangeContext extends CallContext {
  readonly tx: Tx
  emit(event: NewEvent): void
  /**
   * Runs after the commit, never after a rollback, and the reply waits for it: what a caller was told is in force on the
   * server that told it. For hints only: the process may die before it.
   */
  afterCommit(hint: () => void | Promise<void>): void
}

/** What a call would do (D13). Making it again from its own `input` must give the same, as long as nothing changed. */
export interface CallPlan {
  /** Bound to the plan where the operation knows how: it then refuses to do something else. */
  readonly input: unknown
  readonly plan?: unknown
  /** One line for lists and mails; the operation's summary where left out. */
  readonly title?: string
  /** What a member has to know first, in words: label and value. Part of what is approved. */
  readonly facts?: ReadonlyArray<readonly [string, string]>
}

export type GateAttributes = Readonly<Partial<Record<GateAttribute, string>>>

/** One message of a stream; `id` lets a client resume after it. */
export interface StreamMessage<T> {
  readonly id?: string
  readonly data: T
}

/** Said by a stream that is open though it may have no message for long: until its first word a client has no answer. */
export const streamOpen = Symbol("stream open")

export type Handler =
  | {
      readonly operation: AnyOperation
      readonly effect: "read"
      readonly run: (input: never, context: ReadContext) => Promise<unknown>
    }
  | {
      readonly operation: AnyOperation
      readonly effect: "change"
      /** Refuses what needs other services to be asked; runs before the transaction is open. */
      readonly prepare?: (input: never, context: ReadContext) => Promise<void>
      /** What approvers vote on beside the input, and the input that runs exactly that. */
      readonly plan?: (input: never, context: ReadContext) => Promise<CallPlan>
      /** What associations select the call by, where the input alone doesn't say. */
      readonly gateAttributes?: (input: never, context: ReadContext) => Promise<GateAttributes>
      readonly run: (input: never, context: ChangeContext) => Promise<unknown>
    }
  | {
      readonly operation: AnyOperation
      readonly effect: "stream"
      readonly run: (input: never, context: ReadContext) => AsyncIterable<StreamMessage<unknown> | typeof streamOpen>
    }
  | {
      readonly operation: AnyOperation
      readonly effect: "session"
      readonly run: (input: never, context: ReadContext, opened: OpenedSocket) => void
    }

export interface OpenedSocket {
  readonly socket: WebSocket
  /** What the socket writes to. */
  readonly stream: Duplex
}

type Declaration = OperationDeclaration<z.ZodObject, z.ZodType>

/** Binds a reading operation to its handler. */
export function onRead<O extends Declaration>(
  operation: O,
  run: (input: InputOf<O>, context: ReadContext) => Promise<OutputOf<O>>,
): Handler {
  return { operation, effect: "read", run } as unknown as Handler
}

/**
 * Binds a changing operation to its handler, which gets the transaction that the router opened. `prepare` runs before
 * it and may call other services: it refuses early what the handler could not find out inside the transaction.
 * `plan` says what the call would do, for those who approve it; `gateAttributes` what it is about.
 */
export function onChange<O extends Declaration>(
  operation: O,
  run: (input: InputOf<O>, context: ChangeContext) => Promise<OutputOf<O>>,
  options: {
    readonly prepare?: (input: InputOf<O>, context: ReadContext) => Promise<void>
    readonly plan?: (input: InputOf<O>, context: ReadContext) => Promise<CallPlan>
    readonly gateAttributes?: (input: InputOf<O>, context: ReadContext) => Promise<GateAttributes>
  } = {},
): Handler {
  return { operation, effect: "change", run, ...options } as unknown as Handler
}

export function onStream<O extends Declaration>(
  operation: O,
  run: (input: InputOf<O>, context: ReadContext) => AsyncIterable<StreamMessage<OutputOf<O>> | typeof streamOpen>,
): Handler {
  return { operation, effect: "stream", run } as unknown as Handler
}

export function onSession<O extends Declaration>(
  operation: O,
  run: (input: InputOf<O>, context: ReadContext, opened: OpenedSocket) => void,
): Handler {
  return { operation, effect: "session", run } as unknown as Handler
}

/** A sub-service as `compose.ts` sees it: its door. */
export interface Service {
  readonly name: string
  readonly handlers: readonly Handler[]
  /** Events of other services that this one follows, and its work on a schedule. */
  readonly consumers?: readonly Consumer[]
  readonly cronTasks?: readonly CronTask[]
  readonly tasks?: readonly BackgroundTask[]
  /** How to tell apart the events of a row that stands for a batch (D9). */
  readonly expanders?: readonly Expander[]
  /** Begins what this process needs of it; resolves when the service can answer. */
  start?(): Promise<void>
  /** Nothing of the service runs afterwards, but its workers. */
  stop?(): Promise<void>
  /** What looks for due work by itself: runs where the routing map has the service, so it is started and stopped anew. */
  readonly workers?: Workers
}

export interface Workers {
  start(): void
  /** Resolves when what was under way has ended or was given back. */
  stop(): Promise<void>
}
