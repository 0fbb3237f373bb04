import { rulesLimits } from "@signalbox/contracts/rules/rule-document"
import { resourceName } from "@signalbox/contracts/schemas"
import { AppError, hasCode } from "@signalbox/kernel/app-error"
import { getDuration, findDuration } from "@signalbox/kernel/duration"
import { z } from "zod"
import type { Destination } from "../../router/routing-map.ts"
import type { ActionMessage, Firing, ForeignRules, RuleCall, RuleDecision } from "../../router/rule-ports.ts"
import { bodyDigest, callTokenLimits, signCallToken } from "./call-token.ts"
import { foreignRulesLimits } from "./foreign-rules-limits.ts"
import type { RemoteCallerOptions } from "./remote-caller.ts"

/**
 * Asks a rules service that is not ours about a call, before it is carried out. It answers with what its rules do, each a
 * typed message: what gates the call, and operations that follow it. Where it doesn't answer, can't be understood, or asks
 * for what the map gives it no right to, the call is refused: a gate fails closed.
 */
export const foreignRulesPath = "/signalbox/v1/decide"

const ruled = { rule: resourceName, version: z.int().min(1).default(1) }
const text = z.string().max(1000)

const gate = z.discriminatedUnion("action", [
  z.object({ ...ruled, action: z.literal("deny"), input: z.object({ reason: text }) }),
  z.object({ ...ruled, action: z.literal("require-approval"), input: z.object({ template: text }) }),
  z.object({
    ...ruled,
    action: z.literal("delay"),
    input: z.object({ for: z.string().refine((value) => findDuration(value) !== undefined) }),
  }),
  z.object({ ...ruled, action: z.literal("rewrite"), input: z.object({ fields: z.record(z.string(), z.unknown()) }) }),
])

const following = z.object({
  ...ruled,
  action: z
    .string()
    .max(128)
    .regex(/^[a-z0-9-]+(?:\.[a-zA-Z0-9_-]+)+$/),
  targets: z.array(z.string().min(1).max(256)).max(foreignRulesLimits.targetsMax).default([]),
  input: z
    .record(z.string().max(63), z.unknown())
    .default({})
    .refine((value) => JSON.stringify(value).length <= rulesLimits.inputBytesMax),
})

const isGate = (action: Gate | Following): action is Gate => !action.action.includes(".")
const isFollowing = (action: Gate | Following): action is Following => !isGate(action)

const answer = z.object({
  trigger: z.object({ operation: z.string() }),
  actions: z
    .array(z.union([gate, following]))
    .refine((all) => all.filter(isGate).length <= foreignRulesLimits.gatesMax)
    .refine((all) => all.length <= foreignRulesLimits.messagesMax),
})

type Gate = z.output<typeof gate>
type Following = z.output<typeof following>

export function createForeignRules(options: RemoteCallerOptions): ForeignRules {
  return {
    async decide(to, call) {
      const { account, operation, caller, input } = call
      const body = { trigger: { phase: "before", operation }, account, caller, input }
      const said = await ask(options, to, body)
      const read = answer.safeParse(said)
      if (!read.success || read.data.trigger.operation !== operation)
        throw misbehaved(to, call, `can't be understood${read.success ? "" : issueOf(read.error)}`)
      const { actions } = read.data
      const gates = actions.filter(isGate).map((action) => ({ ...action, rule: `${to.name}/${action.rule}` }))
      return {
        decision: toDecision(gates),
        messages: toMessages(to, call, actions.filter(isFollowing)),
      }
    },
  }
}

function misbehaved({ name }: Destination, { operation }: RuleCall, how: string): AppError {
  return new AppError(
    "routing.destination-misbehaved",
    `the rules service "${name}" ${how}, so ${operation} is refused`,
  )
}

function issueOf({ issues: [issue] }: z.ZodError): string {
  return issue ? ` (${issue.path.join(".")}: ${issue.message.slice(0, 200)})` : ""
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

/** What gates amount to together: a denial wins over everything. Pure. */
export function toDecision(gates: readonly Gate[]): RuleDecision {
  for (const { action: kind, input, rule, version } of gates)
    if (kind === "deny") return { kind: "deny", by: { rule, version }, code: "rules.denied", reason: input.reason }
  if (gates.length === 0) return { kind: "pass" }
  const by = new Map<string, Firing>(gates.map(({ rule, version }) => [rule, { rule, version }]))
  return {
    kind: "demand",
    by: [...by.values()],
    rewrites: gates.flatMap(({ action: kind, input, rule, version }) =>
      kind === "rewrite" ? [{ rule, version, fields: input.fields }] : [],
    ),
    delayMilliseconds: Math.max(
      0,
      ...gates.map(({ action: kind, input }) => (kind === "delay" ? getDuration(input.for) : 0)),
    ),
    templates: [
      ...new Set(gates.flatMap(({ action: kind, input }) => (kind === "require-approval" ? [input.template] : []))),
    ],
  }
}

/** @throws routing.destination-misbehaved */
function toMessages(to: Destination, call: RuleCall, all: readonly Following[]): readonly ActionMessage[] {
  const { name, actsAs } = to
  if (all.length > 0 && actsAs === undefined)
    throw misbehaved(to, call, `asks for ${all[0]?.action}, but the routing map lets it act as nobody`)
  return [...Map.groupBy(all, ({ rule }) => rule)].flatMap(([rule, own]) => {
    if (own.length > rulesLimits.actionsMax)
      throw misbehaved(to, call, `asks for more than ${rulesLimits.actionsMax} actions of "${rule}"`)
    return own.map(({ version, action: operation, targets, input }, number) => ({
      ...{ rule: `${name}/${rule}`, version, number, operation, targets, input },
      author: `service-account:${actsAs}`,
    }))
  })
}
