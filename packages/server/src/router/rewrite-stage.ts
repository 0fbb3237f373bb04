import { AppError, hasCode } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { sentBodyOfInput } from "./external-request.ts"
import type { ExternalInput, SentBody } from "./external-ports.ts"
import { isOfBody, overlap, placeOf, rewriteInput, type RewrittenFields } from "./external-rewrite.ts"
import type { Routed } from "./routed.ts"
import type { RuleDecision } from "./rule-ports.ts"
import { validateInput } from "./validate-input.ts"

/** Fields that rules set anew, and what becomes of a call by that. */

type Rewrites = Extract<RuleDecision, { kind: "demand" }>["rewrites"]

/** Of a call that is passed through: what is known of its body before it is read. */
export interface PassedBody {
  readonly sent: SentBody
  /** The call with its body read. @throws request.body-too-large, request.invalid-json */
  readonly withBody: (routed: Routed) => Promise<Routed>
}

export interface Rewritten {
  readonly routed: Routed
  /** Of a call to a service outside. */
  readonly fields?: RewrittenFields
}

/** @throws rules.rewrite-refused where rules contradict one another, or what they make is not a valid input */
export async function rewrite(asked: Routed, rewrites: Rewrites, passed: PassedBody | undefined): Promise<Rewritten> {
  const fields = joinRewrites(asked, rewrites)
  const names = [...new Set(rewrites.map(({ rule }) => rule))]
  try {
    if (!asked.outside) return { routed: rewriteOwn(asked, fields) }
    const isBody = [...fields.keys()].some(isOfBody)
    const routed = isBody && passed ? await passed.withBody(asked) : asked
    const input = routed.input as ExternalInput
    const sent = passed?.sent ?? sentBodyOfInput(input)
    const changed = rewriteInput(routed.outside?.operation ?? asked.outside.operation, { input, sent }, fields)
    return { routed: { ...routed, input: changed, asked: routed.asked ?? input }, fields }
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    if (hasCode(error, "request.body-too-large"))
      throw refused(`${quoteRules(names)} rewrites a body that is too long to be looked into: ${error.message}`, names)
    throw refused(`${quoteRules(names)} made an invalid input of it: ${error.message}`, names)
  }
}

function rewriteOwn(routed: Routed, fields: RewrittenFields): Routed {
  const asked = routed.input as Readonly<Record<string, unknown>>
  const changed = { ...asked, ...Object.fromEntries(fields) }
  return { ...routed, input: validateInput(routed.handler.operation, changed), asked: routed.asked ?? asked }
}

function joinRewrites({ handler, outside }: Routed, rewrites: Rewrites): RewrittenFields {
  const fields = new Map<string, { readonly value: unknown; readonly rule: string }>()
  const isSame = (one: string, other: string): boolean => (outside ? overlap(one, other) : one === other)
  for (const { rule, fields: own } of rewrites) {
    for (const [name, value] of Object.entries(own)) {
      const field = outside ? placeOf(name).join(".") : name
      for (const [known, other] of fields) {
        if (!isSame(known, field)) continue
        if (known === field && canonicalJson(other.value) === canonicalJson(value)) continue
        throw refused(
          `the rules "${other.rule}" and "${rule}" set "${field}" of ${handler.operation.name} to different values`,
          [other.rule, rule],
        )
      }
      fields.set(field, { value, rule })
    }
  }
  return new Map([...fields].map(([field, { value }]) => [field, value]))
}

function refused(message: string, rules: readonly string[]): AppError {
  return new AppError("rules.rewrite-refused", message, { details: { rules } })
}

export const quoteRules = (names: readonly string[]): string => names.map((name) => `the rule "${name}"`).join(" and ")
