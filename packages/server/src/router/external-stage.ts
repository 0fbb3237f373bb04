import { createHash } from "node:crypto"
import { AppError } from "@signalbox/kernel/app-error"
import type { Database } from "../storage/database.ts"
import { writeRefusalRecord } from "./change-record.ts"
import type { ExternalOperation, ExternalService, ExternalServices } from "./external-ports.ts"
import { findRefusal } from "./find-refusal.ts"
import type { GateFinder, HoldWishes } from "./gate-ports.ts"
import type { Caller } from "./handler.ts"
import type { UseRecorder } from "./ports.ts"

/**
 * The stages of a call to a service outside: the same as those of any call, but that what carries it out is elsewhere.
 * Whoever has a passage sends the call on, and says when it is over.
 */

export interface ExternalCall {
  readonly service: string
  readonly method: string
  /** Below `/x/<service>`, as it was sent, without its query. */
  readonly path: string
  readonly token: string | undefined
  readonly sourceAddress: string | undefined
  readonly requestId: string
  readonly wishes: HoldWishes | undefined
}

export interface Passage {
  readonly service: ExternalService
  readonly operation: ExternalOperation
  readonly caller: Caller
  readonly requestId: string
  /** The id that joins the whole story (D12). */
  readonly cause: string
}

export interface ExternalOptions {
  readonly database: Database
  readonly clock: { now(): number }
  readonly external?: ExternalServices
  readonly gates: GateFinder
  readonly uses: UseRecorder
}

type Authenticate = (token: string | undefined, sourceAddress: string | undefined) => Promise<Caller>

/**
 * Lets a call to a service outside pass, or refuses it.
 *
 * @throws identity.missing-credentials, identity.invalid-credentials, identity.permission-denied, identity.narrowed,
 * gateway.service-not-found, gateway.invalid-path, gateway.role-required, routing.unknown-path, approvals.refused
 */
export async function admitExternal(
  options: ExternalOptions,
  authenticate: Authenticate,
  call: ExternalCall,
): Promise<Passage> {
  const caller = await authenticate(call.token, call.sourceAddress)
  const service = options.external?.find(caller.account, call.service)
  if (!service) throw serviceNotFound(call.service)
  const operation = findExternal(service, call)
  await authorize(options, { caller, operation, call })
  if (operation.effect === "change") refuseHeld(options, { caller, operation, call })
  options.uses.record({ operation: operation.name, caller, requestId: call.requestId, now: options.clock.now() })
  return { service, operation, caller, requestId: call.requestId, cause: call.requestId }
}

function serviceNotFound(name: string): AppError {
  return new AppError("gateway.service-not-found", `there is no service "${name.slice(0, 64)}" in this account`)
}

/** What a server behind may read as another path than the one that was looked up here. */
const ambiguousPath = /\/\/|\/\.{1,2}(?:[/;]|$)|[\\#]|%(?:2e|2f|5c|00)|[^\x21-\x7e]/i

function findExternal(service: ExternalService, { method, path }: ExternalCall): ExternalOperation {
  if (ambiguousPath.test(path))
    throw new AppError("gateway.invalid-path", "the path can be read in more than one way, so it is not passed on")
  const match = service.match(method, path)
  if (match.kind === "found") return match.operation
  const hint = match.methods.length > 0 ? `; it takes ${match.methods.join(", ")}` : ""
  throw new AppError("routing.unknown-path", `${service.name} has nothing at ${method} ${path.slice(0, 200)}${hint}`)
}

interface Sought {
  readonly caller: Caller
  readonly operation: ExternalOperation
  readonly call: ExternalCall
}

async function authorize(options: ExternalOptions, sought: Sought): Promise<void> {
  const { caller, operation, call } = sought
  const refusal = findRefusal(operation.declaration, caller) ?? findRoleRefusal(operation, caller)
  if (!refusal) return
  if (operation.effect === "change") {
    await writeRefusalRecord(options.database, {
      caller,
      operation: operation.name,
      requestId: call.requestId,
      cause: call.requestId,
      depth: 0,
      sourceAddress: call.sourceAddress,
      inputDigest: createHash("sha256").update(`${call.method} ${call.path}`).digest("hex"),
      outcome: refusal.code,
    })
  }
  throw refusal
}

function findRoleRefusal({ name, roles }: ExternalOperation, caller: Caller): AppError | undefined {
  if (!roles || roles.some((role) => caller.roles.includes(role))) return undefined
  return new AppError(
    "gateway.role-required",
    `${name} is called by ${roles.join(", ")}, and ${caller.principal} is none`,
    {
      details: { roles },
    },
  )
}

function refuseHeld(options: ExternalOptions, { caller, operation, call }: Sought): void {
  const { name } = operation
  const attributes = { operation: name, action: name, type: "operation" }
  const verdict = options.gates.find({
    ...{ operation: name, caller, attributes },
    now: options.clock.now(),
    wishes: call.wishes ?? {},
  })
  if (verdict.kind === "pass") return
  if (verdict.kind === "deny") throw new AppError(verdict.code, verdict.reason, { details: verdict.details ?? {} })
  throw new AppError("approvals.refused", `${name} needs an approval, and calls to services outside are not held yet`)
}
