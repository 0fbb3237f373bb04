import type { AnyOperation } from "@signalbox/contracts/operation"
import type { RoleName } from "@signalbox/contracts/identity/roles"
import type { Issue } from "@signalbox/kernel/app-error"
import type { Dispatcher } from "undici"

/**
 * The ports of calls to services outside (R3): what is registered, as immutable values in memory, and where a call goes.
 * The service `gateway` implements them; the router and the HTTP edge use them.
 */
export interface ExternalServices {
  /** By whose lease other servers see whether this one lives. */
  readonly serverId: string
  /** Of this account; another account's is not there. */
  find(account: string, service: string): ExternalService | undefined
  /** By its whole name, `ext.<service>.<operationId>`. */
  findOperation(account: string, name: string): FoundExternal | undefined
  list(account: string): readonly ExternalOperation[]
  /** Puts a change that was passed through on the audit record, a moment later. */
  recordPassed(change: PassedChange): void
}

/** What the audit record keeps of a change that was passed through. */
export interface PassedChange {
  readonly account: string
  readonly principal: string
  readonly operation: string
  readonly requestId: string
  readonly sourceAddress: string | undefined
  /** SHA-256 of method and path, in hexadecimal. */
  readonly inputDigest: string
  /** `done`, or the code of what went wrong. */
  readonly outcome: string
}

export interface FoundExternal {
  readonly service: ExternalService
  readonly operation: ExternalOperation
}

export interface ExternalService {
  readonly account: string
  readonly name: string
  readonly version: number
  readonly timeouts: CallTimeouts
  readonly retries: number
  readonly forwardAuthorization: boolean
  readonly upstream: Upstream
  /** The operation of a path below `/x/<service>`, without its query. */
  match(method: string, path: string): ExternalMatch
  /**
   * Sends a call whose input is a value, and reads what comes back up to its limits. Any status is a reply. One that
   * `mayRepeat` and has no body is tried on other base URLs.
   *
   * @throws gateway.unreachable, gateway.circuit-open, gateway.overloaded: nothing was sent;
   * gateway.upstream-failed, gateway.upstream-timeout: nobody knows; the signal's reason where it was aborted
   */
  send(
    request: ExternalRequest,
    as: { readonly signal: AbortSignal; readonly mayRepeat: boolean },
  ): Promise<ExternalReply>
  /** What the service is shown; undefined where nothing is. @throws secrets.not-found, secrets.unreadable */
  credentials(): HeaderPair | Promise<HeaderPair | undefined> | undefined
}

export type HeaderPair = readonly [name: string, value: string]

/** Milliseconds; a total of 0 is none. */
export interface CallTimeouts {
  readonly headers: number
  readonly idle: number
  readonly total: number
}

export type ExternalMatch =
  | {
      readonly kind: "found"
      readonly operation: ExternalOperation
      /** The values of the path's fields, in their order, as they were sent. */
      readonly values: readonly string[]
    }
  | { readonly kind: "unknown"; readonly methods: readonly string[] }

export interface ExternalOperation {
  readonly name: string
  readonly id: string
  readonly service: string
  readonly method: string
  /** As the document writes it: `/invoices/{id}`. */
  readonly path: string
  readonly effect: "read" | "change"
  readonly summary: string
  readonly roles: readonly RoleName[] | undefined
  /** Headers that the document declares, in small letters: kept of a call that is held. */
  readonly headerNames: readonly string[]
  readonly retrySafe: boolean
  readonly bodyBytesMax: number | undefined
  /** Where a request doesn't fit the document; undefined where that is not asked for. */
  readonly findIssues: ((input: ExternalInput, sent: SentBody) => readonly Issue[]) | undefined
  /** What its document says of its requests, whether or not they are checked: read when it is first asked for. */
  readonly document: () => RequestDocument
  /** As the router's stages see it; its input is `{ path, query, headers, body }`. */
  readonly declaration: AnyOperation
}

/** What a service's document says of the requests of an operation. */
export interface RequestDocument {
  /** A JSON Schema of `ExternalInput` as expressions see it, without references. */
  readonly inputSchema: Readonly<Record<string, unknown>>
  /** The same of what rules that follow a call see of its reply. */
  readonly outputSchema: Readonly<Record<string, unknown>>
  /** What every call has: `path.id`, `query.limit`, `body`. */
  readonly required: readonly string[]
  /** Why requests can't be compared with it. */
  findFault(): string | undefined
  /** Where a request doesn't fit. @throws gateway.invalid-document */
  findIssues(input: ExternalInput, sent: SentBody): readonly Issue[]
  /** What it says of a place in the input, such as `["body", "customer", "name"]`. */
  findPlace(place: readonly string[]): DocumentPlace
}

export type DocumentPlace =
  /** It has no such field. */
  | { readonly kind: "absent" }
  /** What may stand there isn't known. */
  | { readonly kind: "anything" }
  | {
      readonly kind: "known"
      /** Fields that what stands there must have. */
      readonly required: readonly string[]
      /** Where a value doesn't fit; paths begin at the value. @throws gateway.invalid-document */
      findIssues(value: unknown): readonly Issue[]
    }

/** A call as rules, approvers and checks see it: `{ path, query, headers, body }`. */
export interface ExternalInput {
  readonly path: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, string | readonly string[]>>
  readonly headers: Readonly<Record<string, string>>
  /** Of a call that is passed through present where it is JSON; by name also a text, where `content-type` says so. */
  readonly body?: unknown
  /** In place of a body that is neither. */
  readonly bodyBase64?: string
}

/** What is sent to a service for a call whose input is a value. */
export interface ExternalRequest {
  readonly method: string
  /** Below the base URL, with its query. */
  readonly path: string
  /** Names in small letters. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  readonly body: Buffer | null
}

/** What a call by name gives of a service's reply. */
export interface ExternalReply {
  readonly status: number
  /** Those of `shownReplyHeaders` that there are, names in small letters. */
  readonly headers: Readonly<Record<string, string>>
  /** JSON as what it says, other texts as text; left out where there is none. */
  readonly body?: unknown
  /** In place of a body that is neither. */
  readonly bodyBase64?: string
  /** Why a body that there was is left out: over the limit, or it broke off after the service had replied. */
  readonly bodyOmitted?: "too-large" | "broken-off"
}

export const shownReplyHeaders = [
  ...["content-type", "content-language", "etag", "last-modified", "link", "location", "retry-after"],
] as const

export interface SentBody {
  readonly isPresent: boolean
  /** The media type without its parameters, in small letters; empty where none is said. */
  readonly type: string
}

/** The base URLs of a service: which of them gets the next call. */
export interface Upstream {
  /**
   * One that takes calls now, other than those tried where there is another.
   *
   * @throws gateway.circuit-open, gateway.overloaded
   */
  begin(tried: readonly UpstreamTarget[]): UpstreamAttempt
}

export interface UpstreamTarget {
  /** `https://billing.example` */
  readonly origin: string
  readonly host: string
  /** The path of the base URL, without a slash at its end. */
  readonly basePath: string
  readonly dispatcher: Dispatcher
}

/** One call to one base URL. Whoever began it says what it came to, as soon as that is known, and when it is over. */
export interface UpstreamAttempt {
  readonly target: UpstreamTarget
  /** The first word counts. */
  judge(outcome: "good" | "failed"): void
  /** Nothing of it is under way any more; without a judgement nobody knows how it would have ended. */
  end(): void
}
