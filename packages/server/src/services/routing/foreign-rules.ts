import { hasCode, AppError } from "@signalbox/kernel/app-error"
import { getDuration, findDuration } from "@signalbox/kernel/duration"
import { z } from "zod"
import type { Destination } from "../../router/routing-map.ts"
import type { RuleCall, RuleDecision } from "../../router/rule-ports.ts"
import { bodyDigest, callTokenLimits, signCallToken } from "./call-token.ts"
import type { RemoteCallerOptions } from "./remote-caller.ts"

/**
 * Asks a rules service that is not ours about a call, before it is carried out. It answers with what its rules do, each a
 * typed message. Where it doesn't answer, or can't be understood, the call is refused: a gate fails closed.
 */
export const foreignRulesPath = "/signalbox/v1/decide"
export const foreignRulesLimits = { askMilliseconds: 5_000, answerBytesMax: 256 * 1024, actionsMax: 64 } as const

const ruled = { rule: z.string().min(1).max(128), version: z.int().min(0).default(0) }
const text = z.string().max(1000)

const action = z.discriminatedUnion("action", [
  z.object({ ...ruled, action: z.literal("deny"), input: z.object({ reason: text }) }),
  z.object({ ...ruled, action: z.literal("require-approval"), input: z.object({ template: text }) }),
  z.object({
    ...ruled,
    action: z.literal("delay"),
    input: z.object({ for: z.string().refine((value) => findDuration(value) !== undefined) }),
  }),
  z.object({ ...ruled, action: z.literal("rewrite"), input: z.object({ fields: z.record(z.string(), z.unknown()) }) }),
])

const answer = z.object({ operation: z.string(), actions: z.array(action).max(foreignRulesLimits.actionsMax) })

type Action = z.output<typeof action>

/** @throws routing.destination-unreachable, routing.destination-misbehaved */
export function createForeignRules(
  options: RemoteCallerOptions,
): (to: Destination, call: RuleCall) => Promise<RuleDecision> {
  return async (to, call) => {
    const { account, operation, caller, input } = call
    const body = { trigger: { phase: "before", operation }, account, caller, input }
    const said = await ask(options, to, body)
    const read = answer.safeParse(said)
    if (!read.success || read.data.operation !== operation)
      throw new AppError(
        "routing.destination-misbehaved",
        `the rules service "${to.name}" can't be understood, so ${operation} is refused`,
      )
    return toDecision(read.data.actions)
  }
}

async function ask(
  { egress, clock, random, signingKey }: RemoteCallerOptions,
  to: Destination,
  body: object,
): Promise<unknown> {
  const issued = Math.floor(clock.now() / 1000)
  const token = signCallToken(signingKey, {
    ...{ aud: to.name, sub: "rules.decide", iat: issued, exp: issued + callTokenLimits.lifeSeconds },
    jti: Buffer.from(random.bytes(16)).toString("base64url"),
    digest: bodyDigest(body),
  })
  try {
    const response = await egress.request({
      method: "POST",
      url: new URL(foreignRulesPath, to.url).href,
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
      timeoutMilliseconds: foreignRulesLimits.askMilliseconds,
      responseBytesMax: foreignRulesLimits.answerBytesMax,
      isRepeatable: true,
      ...(to.ca === undefined ? {} : { ca: to.ca }),
    })
    return response.status === 200 ? (JSON.parse(response.body.toString("utf8")) as unknown) : undefined
  } catch (error) {
    if (error instanceof SyntaxError || hasCode(error, "egress.response-too-large")) return undefined
    throw new AppError("routing.destination-unreachable", `the rules service "${to.name}" does not answer`, {
      cause: error,
      details: { destination: to.name },
    })
  }
}

/** What the actions amount to together: a denial wins over everything. Pure. */
export function toDecision(actions: readonly Action[]): RuleDecision {
  const by = actions.map(({ rule, version }) => ({ rule, version }))
  for (const { action: kind, input, rule, version } of actions)
    if (kind === "deny") return { kind: "deny", by: { rule, version }, code: "rules.denied", reason: input.reason }
  if (actions.length === 0) return { kind: "pass" }
  return {
    kind: "demand",
    by,
    rewrites: actions.flatMap(({ action: kind, input, rule, version }) =>
      kind === "rewrite" ? [{ rule, version, fields: input.fields }] : [],
    ),
    delayMilliseconds: Math.max(
      0,
      ...actions.map(({ action: kind, input }) => (kind === "delay" ? getDuration(input.for) : 0)),
    ),
    templates: [
      ...new Set(actions.flatMap(({ action: kind, input }) => (kind === "require-approval" ? [input.template] : []))),
    ],
  }
}
