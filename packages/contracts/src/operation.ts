import { assert } from "@signalbox/kernel/assert"
import type { ErrorCode } from "@signalbox/kernel/error-catalogue"
import type { z } from "zod"
import type { Permission } from "./identity/roles.ts"

/** The sub-services that are built in. Each has a folder in the server and a row per operation in the routing map. */
export type ServiceName =
  | "identity"
  | "routing"
  | "audit"
  | "fleet"
  | "workflows"
  | "calendars"
  | "secrets"
  | "artifacts"
  | "notifications"
  | "approvals"
  | "catalog"
  | "rules"
  | "actions"
  | "triggers"
  | "gateway"

/**
 * What an operation does to the world:
 * `read` answers from committed state; `change` runs in one transaction with its event, audit record and idempotency
 * record, may be held for approval, and needs an Idempotency-Key; `stream` answers with server-sent events; `session`
 * upgrades the connection to a WebSocket.
 */
export type OperationEffect = "read" | "change" | "stream" | "session"

/** What an association may select a call by, beside its operation. */
export type GateAttribute = "product" | "portfolio" | "project" | "topic" | "workflow"

export interface OperationDeclaration<
  Input extends z.ZodObject = z.ZodObject,
  Output extends z.ZodType = z.ZodType,
  Effect extends OperationEffect = OperationEffect,
> {
  /** `<noun>.<verb>`, unique in the installation. */
  readonly name: string
  readonly service: ServiceName
  /** One line, imperative, no full stop: help texts and OpenAPI show it. */
  readonly summary: string
  readonly description?: string
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE"
  /** `/v1/<plural-noun>[/{field}][:verb]`; each `{field}` is a member of the input. */
  readonly path: string
  readonly effect: Effect
  readonly permission: Permission
  /** Path fields, then the query (GET, DELETE) or the body, as one flat object. */
  readonly input: Input
  /** The reply; for a stream, one message of it. */
  readonly output: Output
  readonly errors: readonly ErrorCode[]
  /** True where the call carries no credentials: its input has the `account`, and it needs `auth.enter`. */
  readonly anonymous?: true
  /** True where reads too must leave an audit record. */
  readonly audited?: true
  /** Members of the output that are shown once: never stored, so a repeated call gets `secretShownOnce` instead. */
  readonly secretOutput?: readonly string[]
  /** Members of the input, texts, that no record may tell: digests are taken over a keyed mark in their place. */
  readonly secretInput?: readonly string[]
  /** Of an operation whose secrets stand deeper: its input with each of them replaced, itself where it has none. */
  readonly replaceSecrets?: (input: unknown, replace: (value: unknown, place: readonly string[]) => unknown) => unknown
  /** Media type of a reading operation that answers with bytes instead of JSON; ranges of them can be asked for. */
  readonly rawOutput?: string
  /** Member of the input, in the path, that carries the caller's credential: for programs that can send no header. */
  readonly tokenInput?: string
  /** False where no gate may hold it: answering requests, opening sessions, and what gates themselves call. */
  readonly gateable?: false
  /**
   * Members of the input that associations select by, by attribute: `{ workflow: "workflow" }`. Where the input does not
   * say, a handler's `gateAttributes` does.
   */
  readonly gateAttributes?: Readonly<Partial<Record<GateAttribute, string>>>
  /**
   * Whether a caller that is narrowed to some nodes may call it. `honoured`: it shows and touches those nodes alone.
   * `none`: it is about no node. Left out: such a caller is refused, whatever its roles.
   */
  readonly nodeScope?: "honoured" | "none"
  /** How the command line shows the reply as a table: which member holds the rows, and their columns. */
  readonly table?: { readonly rows?: string; readonly columns: readonly string[] }
}

/** Any operation, where its own types don't matter. */
export type AnyOperation = OperationDeclaration

/** What a call takes of a declaration; see `routes.ts` of a service. */
export type OperationRoute = Pick<AnyOperation, "name" | "method" | "path" | "effect">

export type InputOf<O> = O extends OperationDeclaration<infer I, z.ZodType> ? z.output<I> : never
/** What a caller writes: defaults may be left out. */
export type CallInputOf<O> = O extends OperationDeclaration<infer I, z.ZodType> ? z.input<I> : never
export type OutputOf<O> = O extends OperationDeclaration<z.ZodObject, infer R> ? z.output<R> : never

/** The reply of a changing operation: carried out, or held until somebody approves it. */
export interface Done<T> {
  readonly status: "done"
  readonly value: T
  /** Where the runs of actions can be read that rules have started because of it: paths. Absent where there are none. */
  readonly started?: readonly string[]
}
export interface Held {
  readonly status: "held"
  /** Where the state of the approval request can be read. */
  readonly requestUrl: string
}
export type Reply<T> = Done<T> | Held

/** What a call returns: the output of a reading operation, the reply of a changing one. */
export type ResultOf<O> =
  O extends OperationDeclaration<z.ZodObject, infer R, infer E>
    ? E extends "change"
      ? Reply<z.output<R>>
      : z.output<R>
    : never

/** What stands in the place of a secret when a changing call is repeated with the same Idempotency-Key. */
export const secretShownOnce = "(shown once, in the first reply)"

const namePattern = /^[a-z]+(?:-[a-z]+)*\.[a-z]+(?:-[a-z]+)*$/
const pathPattern = /^\/v1\/[a-z-]+(?:\/(?:\{[a-zA-Z]+\}|[a-z-]+))*(?::[a-z-]+)?$/

/** Declares an operation. Router, HTTP routes, OpenAPI, client, command line and the completeness tests read it. */
export function defineOperation<
  const Input extends z.ZodObject,
  const Output extends z.ZodType,
  const Effect extends OperationEffect,
>(declaration: OperationDeclaration<Input, Output, Effect>): OperationDeclaration<Input, Output, Effect> {
  assert(namePattern.test(declaration.name), `operation name ${declaration.name}`)
  assert(pathPattern.test(declaration.path), `path of ${declaration.name}: ${declaration.path}`)
  for (const field of pathFields(declaration.path)) {
    assert(field in declaration.input.shape, `${declaration.name}: path field ${field} is not in the input`)
  }
  const enters = declaration.anonymous === true
  assert(enters === (declaration.permission === "auth.enter"), `${declaration.name}: auth.enter is for anonymous calls`)
  assert(!enters || "account" in declaration.input.shape, `${declaration.name}: an anonymous call names its account`)
  return declaration
}

/** The input fields that a path carries. @example pathFields("/v1/nodes/{node}") // ["node"] */
export function pathFields(path: string): string[] {
  return [...path.matchAll(/\{([a-zA-Z]+)\}/g)].map(([, field]) => field ?? "")
}
