import { AppError } from "@signalbox/kernel/app-error"
import type { Database } from "../storage/database.ts"
import { digestOf } from "./call-digest.ts"
import { writeRefusalRecord } from "./change-record.ts"
import type { Elsewhere } from "./forwarded-call.ts"
import type { GateDemands } from "./gate-ports.ts"
import type { Handler, ReadContext } from "./handler.ts"
import { quoteRules, rewrite, type PassedBody, type Rewritten } from "./rewrite-stage.ts"
import type { Routed } from "./routed.ts"
import { ruleCallOf } from "./rule-call.ts"
import type {
  ActionMessage,
  ClaimingRule,
  Firing,
  ForeignDecision,
  OrLater,
  RuleDecision,
  RuleMatcher,
} from "./rule-ports.ts"

/**
 * The stage before a call is carried out: what rules deny, rewrite, delay or want approved. Rules look at the call as it
 * was made; where one rewrites it, the others look once more at what it became, and what either look demands counts.
 */
export interface RuleStageOptions {
  readonly database: Database
  readonly rules: RuleMatcher
  readonly elsewhere: Pick<Elsewhere, "rules">
  readonly markSecretInput: (text: string) => string
}

/** With the input that rules made of it, and what another rules service wants done after it. */
export interface Ruled extends Rewritten {
  readonly by: readonly Firing[]
  readonly demands?: GateDemands
}

const noFirings: readonly Firing[] = []
const noMessages: readonly ActionMessage[] = []

type Demand = Extract<RuleDecision, { kind: "demand" }>

/**
 * Whether any rule is asked about the call: for most calls one look-up, and then nothing else of this stage. Which rules
 * service is asked says the map that the call began with (R15); another one than ours is asked once, before it.
 */
export function isRuled(rules: RuleMatcher, routed: Routed, phase: "before" | "after"): boolean {
  const { handler, context, consults, messages } = routed
  if (phase === "after" && messages !== undefined) return true
  if (consults !== undefined) return consults !== "none" && phase === "before"
  return rules.isAsked(context.account, handler.operation.name, phase)
}

/**
 * Of a call that is ruled. At once where rules in memory let it pass as it is.
 *
 * @throws rules.denied, rules.condition-failed, rules.rewrite-refused
 */
export function applyRules(options: RuleStageOptions, routed: Routed, passed?: () => PassedBody): OrLater<Ruled> {
  const { handler, context } = routed
  if (isExempt(handler, context)) return { routed, by: noFirings }
  const answer = ask(options, routed)
  if (!(answer instanceof Promise) && answer.decision.kind === "pass" && answer.messages.length === 0)
    return { routed, by: noFirings }
  return applyAnswer(options, { routed, answer, passed })
}

async function applyAnswer(
  options: RuleStageOptions,
  asked: {
    readonly routed: Routed
    readonly answer: OrLater<ForeignDecision>
    readonly passed: (() => PassedBody) | undefined
  },
): Promise<Ruled> {
  const { routed, passed } = asked
  const { handler, context } = routed
  const first = await look(options, routed, await asked.answer)
  const { rewrites = [] } = first.demand ?? {}
  const rewritten = rewrites.length > 0 ? await rewrite(routed, rewrites, passed?.()) : undefined
  const second = rewritten && (await look(options, rewritten.routed, await ask(options, rewritten.routed)))
  const looks = [first, second].flatMap((look) => look?.demand ?? [])
  const demands = demandsOf(context.now, looks)
  if (demands && !canBeHeld(handler))
    throw new AppError("rules.denied", `${nameAll(demands.by)} would hold ${handler.operation.name}, which can't wait`)
  const by = looks.reduce<readonly Firing[]>((so, demand) => joined(so, demand.by), [])
  // What follows is said of the call that is carried out: of the last look.
  const last = withMessages(rewritten?.routed ?? routed, second ?? first)
  return { ...rewritten, routed: last, by, ...(demands && { demands }) }
}

/**
 * Before a call that was held runs: what was rewritten and approved stays so, but what a rule denies by now doesn't run.
 * Of a call that is ruled; gives it with what another rules service wants done after it.
 *
 * @throws rules.denied, rules.condition-failed
 */
export async function refuseDenied(options: RuleStageOptions, routed: Routed): Promise<Routed> {
  if (isExempt(routed.handler, routed.context)) return routed
  return withMessages(routed, await look(options, routed, await ask(options, routed)))
}

function withMessages(routed: Routed, { messages }: Look): Routed {
  return messages.length > 0 ? { ...routed, messages } : routed
}

/** A rule that denies everybody can be mended: by whoever may write rules, and logging in is never denied. */
function isExempt({ operation }: Handler, { caller }: ReadContext): boolean {
  if (operation.anonymous === true) return true
  return operation.service === "rules" && caller.permissions.has("rules.write")
}

interface Look {
  /** Undefined where the rules let it pass as it is. */
  readonly demand?: Demand
  readonly messages: readonly ActionMessage[]
}

function ask(options: RuleStageOptions, routed: Routed): OrLater<ForeignDecision> {
  const { consults } = routed
  const call = ruleCallOf(options, routed)
  if (consults !== undefined && consults !== "none") return options.elsewhere.rules.decide(consults, call)
  const decision = options.rules.decide(call)
  if (decision instanceof Promise) return decision.then((later) => ({ decision: later, messages: noMessages }))
  return { decision, messages: noMessages }
}

async function look(options: RuleStageOptions, routed: Routed, { decision, messages }: ForeignDecision): Promise<Look> {
  if (decision.kind === "pass") return { messages }
  if (decision.kind === "demand") return { demand: decision, messages }
  const { code, by, reason } = decision
  await recordRefusal(options, routed, code)
  throw new AppError(code, `the rule "${by.rule}" refuses ${routed.handler.operation.name}: ${reason}`, {
    details: { rule: by.rule, version: by.version, reason },
  })
}

async function recordRefusal(
  options: RuleStageOptions,
  { handler, context, input }: Routed,
  outcome: string,
): Promise<void> {
  if (handler.effect !== "change") return
  const { operation } = handler
  const inputDigest = digestOf(options, operation, input)
  await writeRefusalRecord(options.database, { ...context, operation: operation.name, inputDigest, outcome })
}

function demandsOf(now: number, all: readonly Demand[]): GateDemands | undefined {
  const templates = [...new Set(all.flatMap((demand) => demand.templates))]
  const delayMilliseconds = Math.max(0, ...all.map((demand) => demand.delayMilliseconds))
  if (templates.length === 0 && delayMilliseconds === 0) return undefined
  const by = all.reduce<readonly ClaimingRule[]>((so, demand) => joined(so, demand.by), [])
  return { templates, by, ...(delayMilliseconds > 0 && { notBefore: now + delayMilliseconds }) }
}

function canBeHeld({ effect, operation }: Handler): boolean {
  return effect === "change" && operation.gateable !== false
}

function joined<T extends Firing>(some: readonly T[], more: readonly T[]): readonly T[] {
  return [...some, ...more.filter(({ rule }) => some.every((each) => each.rule !== rule))]
}

const nameAll = (firings: readonly Firing[]): string => quoteRules(firings.map(({ rule }) => rule))
