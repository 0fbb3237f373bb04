/**
 * The gate stage's side of approvals: says in memory whether a call is held, and keeps it with the request for its
 * approval. The same call again finds the request that it made.
 */
import { breakGlassReviewsOpen } from "@signalbox/contracts/calendars/break-glass-reviews"
import { heldOperationsKeep } from "@signalbox/contracts/approvals/held-operations"
import { approvalLimits } from "@signalbox/contracts/approvals/approval-limits"
import { AppError } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { toInstant } from "@signalbox/kernel/clock"
import type { GateCall, GateFinder, GateVerdict, HeldCall } from "../../router/gate-ports.ts"
import type { ChangeFreezes, Freeze, OperationCaller, Sealer } from "../../router/ports.ts"
import type { ApprovalDirectory } from "./approval-directory.ts"

export interface HeldGateOptions {
  readonly directory: Pick<ApprovalDirectory, "match" | "findTemplate">
  readonly freezes: ChangeFreezes
  readonly operations: OperationCaller
  readonly sealer: Sealer
}

/** How far ahead a call may be asked to run. */
const notBeforeMillisecondsMax = 400 * 24 * 3_600_000
/** Where a held input is sealed for, before its request has an id. */
export const heldInputUse = "held-operation"

export function createHeldGate(options: HeldGateOptions): GateFinder {
  return {
    find: (call) => find(options, call),
    hold: (call) => hold(options, call),
    recordSkip: (call) => recordSkip(options, call),
  }
}

/**
 * An association holds the call, or a rule that wants it approved or delayed; so does a closed calendar, unless the call
 * breaks its glass (A15).
 */
function find({ directory, freezes }: HeldGateOptions, call: GateCall): GateVerdict {
  const { caller, attributes, operation, wishes, demands, now } = call
  const { account } = caller
  const missing = demands?.templates.find((name) => !directory.findTemplate(account, { name, groups: {} }))
  if (missing !== undefined) return refuseWithout(missing, demands)
  const closed = freezes.find(account, { operation, attributes }, now)
  const isHeld = demands !== undefined || directory.match(account, attributes) !== undefined
  if (closed.length === 0) return { kind: isHeld ? "hold" : "pass" }
  if (wishes.breakGlass !== undefined)
    return isHeld ? { kind: "hold" } : { kind: "pass", skipped: closed.map(({ calendar }) => calendar) }
  const shut = closed.find(({ freezeTemplate }) => {
    return freezeTemplate === null || !directory.findTemplate(account, { name: freezeTemplate, groups: {} })
  })
  return shut ? refuse(shut) : { kind: "hold" }
}

function refuseWithout(template: string, demands: GateCall["demands"]): GateVerdict {
  const rules = (demands?.by ?? []).map(({ rule }) => rule)
  const reason = `a rule (${rules.join(", ")}) wants the approval template "${template}", which does not exist`
  return { kind: "deny", code: "rules.template-not-found", reason, details: { template, rules } }
}

function refuse({ calendar, freezeTemplate, opensAt, event, unknown }: Freeze): GateVerdict {
  const why = unknown ? "its state is unknown" : `it is closed${event === null ? "" : ` (${event})`}`
  const until = opensAt === null ? "" : ` until ${toInstant(opensAt)}`
  const who = freezeTemplate === null ? "nobody can approve it" : `there is no template "${freezeTemplate}"`
  return {
    kind: "deny",
    code: "calendars.closed",
    reason: `the change calendar "${calendar}" holds this call: ${why}${until}, and ${who}`,
    details: { calendar, ...(opensAt === null ? {} : { opensAt: toInstant(opensAt) }) },
  }
}

async function recordSkip(
  { operations }: HeldGateOptions,
  call: Parameters<GateFinder["recordSkip"]>[0],
): Promise<void> {
  const { operation, caller, wishes, context, calendars } = call
  const { account, principal } = caller
  const { cause, requestId, depth } = context
  await operations.call(
    breakGlassReviewsOpen,
    { requestId, operation, principal, reason: wishes.breakGlass ?? "", calendars: [...calendars] },
    { account, service: "approvals", roles: ["gate"], cause, causedBy: requestId, depth },
  )
}

async function hold(options: HeldGateOptions, call: HeldCall): Promise<{ requestId: string; requestUrl: string }> {
  const { operations, sealer } = options
  const { caller, context, idempotency, wishes, demands, now, attributes, operation } = call
  const { account, principal } = caller
  if (wishes.notBefore !== undefined && wishes.notBefore > now + notBeforeMillisecondsMax)
    throw new AppError(
      "request.invalid-input",
      "a held call runs within 400 days: give an earlier Signalbox-Not-Before",
    )
  const { cause, requestId, depth } = context
  const isSkipped = wishes.breakGlass !== undefined
  const freezes = options.freezes
    .find(account, { operation, attributes }, now)
    .map(({ calendar, freezeTemplate }) => ({ calendar, template: isSkipped ? null : freezeTemplate }))
  const notBefore = Math.max(wishes.notBefore ?? 0, demands?.notBefore ?? 0)
  const kept = await operations.call(
    heldOperationsKeep,
    {
      ...{ operation: call.operation, title: call.title, attributes: call.attributes, content: call.content },
      sealed: sealer.seal({ account, use: heldInputUse, id: idempotency.bodyHash }, canonicalJson(call.input)),
      ...{ principal, roles: [...caller.roles], key: idempotency.key, bodyHash: idempotency.bodyHash },
      ...{ cause, causedBy: requestId, depth },
      ...(caller.author === undefined ? {} : { author: caller.author }),
      ...(caller.nodes === undefined ? {} : { nodes: caller.nodes }),
      ...wishes,
      ...(demands && { templates: [...demands.templates] }),
      ...(notBefore > 0 && { notBefore }),
      freezes,
      rules: call.rules.slice(0, approvalLimits.askingRulesMax),
    },
    {
      ...{ account, service: "approvals", roles: ["gate"], cause, causedBy: requestId, depth },
      once: { key: `held:${principal}:${idempotency.key}`, bodyHash: idempotency.bodyHash },
    },
  )
  if (isSkipped && freezes.length > 0)
    await recordSkip(options, { ...call, calendars: freezes.map(({ calendar }) => calendar) })
  return { requestId: kept.request, requestUrl: kept.requestUrl }
}
