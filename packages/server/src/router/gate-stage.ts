import { createHash } from "node:crypto"
import type { Held } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { contentDigest } from "@signalbox/approvals/content-digest"
import { digestOf, withSecretsMarked } from "./call-digest.ts"
import type { CallPlan, ReadContext } from "./handler.ts"
import type { AskingRule, CallAttributes, GateDemands, GateFinder, HoldWishes } from "./gate-ports.ts"
import type { CallPlanner } from "./ports.ts"
import type { Routed } from "./routed.ts"
import type { ClaimingRule } from "./rule-ports.ts"

/**
 * The gate stage: what holds a call, and whether an approved call is still what was approved. Associations and
 * calendars are asked in memory; only a call that is held costs more.
 */

const titleLengthMax = 200

interface GateOptions {
  readonly gates: GateFinder
  readonly markSecretInput: (text: string) => string
}

/** Holds the call where a gate says so. @throws approvals.refused, and what making its plan throws */
export async function findHold(
  options: GateOptions,
  routed: Routed,
  terms: {
    readonly idempotencyKey: () => string
    readonly wishes?: HoldWishes | undefined
    readonly demands?: GateDemands | undefined
    /** Whose action the call is. */
    readonly rule?: ClaimingRule | undefined
  },
): Promise<Held | undefined> {
  const { handler, context } = routed
  const { operation } = handler
  if (operation.gateable === false) return undefined
  const { caller, now } = context
  const attributes = await attributesOf(routed)
  const { wishes = {}, demands } = terms
  const call = { operation: operation.name, caller, attributes, now, wishes, ...(demands && { demands }) }
  const verdict = options.gates.find(call)
  if (verdict.kind === "pass") {
    if (verdict.skipped) await options.gates.recordSkip({ ...call, context, calendars: verdict.skipped })
    return undefined
  }
  if (verdict.kind === "deny") throw new AppError(verdict.code, verdict.reason, { details: verdict.details ?? {} })
  const key = terms.idempotencyKey()
  const { input: bound, content, title, bodyHash } = await planRouted(options, routed)
  const { requestUrl } = await options.gates.hold({
    ...call,
    context,
    idempotency: { key, bodyHash },
    input: bound,
    content,
    title,
    rules: [
      ...(terms.rule ? [toAsking(terms.rule, "acts")] : []),
      ...(demands?.by ?? []).map((rule) => toAsking(rule, "gates")),
    ],
  })
  return { status: "held", requestUrl }
}

function toAsking({ rule: name, version, reason }: ClaimingRule, part: AskingRule["part"]): AskingRule {
  return { name, version, part, ...(reason === undefined ? {} : { reason }) }
}

/** What a held call is kept with. */
export async function planRouted(
  options: GateOptions,
  routed: Routed,
): Promise<Omit<Awaited<ReturnType<CallPlanner["planCall"]>>, "templates">> {
  const bodyHash = digestOf(options, routed.handler.operation, routed.asked ?? routed.input)
  const plan = await planOf(routed)
  const title = (plan.title ?? routed.handler.operation.summary).slice(0, titleLengthMax)
  return {
    input: plan.input,
    title,
    content: contentOf(options, routed, plan),
    attributes: await attributesOf(routed),
    bodyHash,
  }
}

/**
 * What is approved is what runs: the plan is made again, and anything else than then is refused.
 *
 * @throws approvals.content-changed
 */
export async function checkApproval(options: GateOptions, routed: Routed, digest: string): Promise<void> {
  const content = contentOf(options, routed, await planOf(routed))
  const present = contentDigest(content, sha256Hex)
  if (present === digest) return
  throw new AppError("approvals.content-changed", "what would run now is not what was approved", {
    details: { approved: digest, now: present },
  })
}

const sha256Hex = (text: string): string => createHash("sha256").update(text).digest("hex")

async function planOf({ handler, context, input }: Routed): Promise<CallPlan> {
  assert(handler.effect === "change", "only changes are held")
  return (await handler.plan?.(input as never, context satisfies ReadContext)) ?? { input }
}

function contentOf(options: GateOptions, { handler }: Routed, made: CallPlan): Record<string, unknown> {
  const { input, plan, facts } = made
  const { operation } = handler
  return {
    operation: operation.name,
    input: withSecretsMarked(options, operation, input),
    ...(facts === undefined ? {} : { facts }),
    ...(plan === undefined ? {} : { plan }),
  }
}

/** What associations and calendars select a call by. */
async function attributesOf({ handler, context, input }: Routed): Promise<CallAttributes> {
  const { operation } = handler
  const named = Object.entries(operation.gateAttributes ?? {}).flatMap(([attribute, member]) => {
    const value = (input as Record<string, unknown>)[member]
    return typeof value === "string" ? [[attribute, value] as const] : []
  })
  const found = handler.effect === "change" ? await handler.gateAttributes?.(input as never, context) : undefined
  return {
    ...Object.fromEntries(named),
    ...found,
    ...{ operation: operation.name, action: operation.name, type: "operation" },
  }
}
