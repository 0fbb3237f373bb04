/**
 * The gate stage's side of approvals: says in memory whether a call is held, and keeps it with the request for its
 * approval. The same call again finds the request that it made.
 */
import { heldOperationsKeep } from "@signalbox/contracts/approvals/held-operations"
import { AppError } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import type { GateFinder, HeldCall, OperationCaller, Sealer } from "../../router/ports.ts"
import type { ApprovalDirectory } from "./approval-directory.ts"

export interface HeldGateOptions {
  readonly directory: Pick<ApprovalDirectory, "match">
  readonly operations: OperationCaller
  readonly sealer: Sealer
}

/** How far ahead a call may be asked to run. */
const notBeforeMillisecondsMax = 400 * 24 * 3_600_000
/** Where a held input is sealed for, before its request has an id. */
export const heldInputUse = "held-operation"

export function createHeldGate(options: HeldGateOptions): GateFinder {
  return {
    find({ caller, attributes }) {
      const match = options.directory.match(caller.account, attributes)
      return match === undefined ? { kind: "pass" } : { kind: "hold" }
    },
    hold: (call) => hold(options, call),
  }
}

async function hold(
  { operations, sealer }: HeldGateOptions,
  call: HeldCall,
): Promise<{ requestId: string; requestUrl: string }> {
  const { caller, context, idempotency, wishes, now } = call
  const { account, principal } = caller
  if (wishes.notBefore !== undefined && wishes.notBefore > now + notBeforeMillisecondsMax)
    throw new AppError(
      "request.invalid-input",
      "a held call runs within 400 days: give an earlier Signalbox-Not-Before",
    )
  const { cause, requestId, depth } = context
  const kept = await operations.call(
    heldOperationsKeep,
    {
      ...{ operation: call.operation, title: call.title, attributes: call.attributes, content: call.content },
      sealed: sealer.seal({ account, use: heldInputUse, id: idempotency.bodyHash }, canonicalJson(call.input)),
      ...{ principal, roles: [...caller.roles], key: idempotency.key, bodyHash: idempotency.bodyHash },
      ...{ cause, causedBy: requestId, depth },
      ...(caller.author === undefined ? {} : { author: caller.author }),
      ...wishes,
    },
    {
      ...{ account, service: "approvals", roles: ["gate"], cause, causedBy: requestId, depth },
      once: { key: `held:${principal}:${idempotency.key}`, bodyHash: idempotency.bodyHash },
    },
  )
  return { requestId: kept.request, requestUrl: kept.requestUrl }
}
