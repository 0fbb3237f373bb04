/** Trying rules on events and calls, past and made up. */
import type { InputOf } from "@signalbox/contracts/operation"
import { rulesExplain, rulesReplay, rulesTest } from "@signalbox/contracts/rules/operations"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { onRead, type Handler, type ReadContext } from "../../router/handler.ts"
import type { RuleEvent } from "../../router/rule-ports.ts"
import { findEvents, readEvents, type OutboxEvent } from "../../storage/outbox.ts"
import { loadRule } from "./account-rules.ts"
import { findWarnings } from "./find-warnings.ts"
import type { RulesContext } from "./options.ts"
import { definitionOf, findPresentIssues, getRule, refuseFaulty, shownWarnings } from "./rule-handlers.ts"
import { makeParts } from "./rule-parts.ts"
import { occurrenceOf, testRule, type Occurrence, type TestedRule, type Verdict } from "./test-rule.ts"

type Which = Pick<InputOf<typeof rulesTest>, "name" | "rule">

export function testHandlers(context: RulesContext): Handler[] {
  return [
    onRead(rulesTest, async (input, ctx) => {
      const tested = await findTested(context, input, ctx)
      const verdict = testRule(tested, await findOccurrence(context, input, ctx))
      const [warnings = []] = await findWarnings(context, ctx, [tested.definition])
      return { ...verdict, ...shownWarnings(warnings) }
    }),
    onRead(rulesExplain, async ({ name, event }, ctx) => {
      const tested = await findTested(context, { name }, ctx)
      return testRule(tested, occurrenceOf(await getEvent(context, ctx, event), ctx.account))
    }),
    onRead(rulesReplay, (input, ctx) => replay(context, input, ctx)),
  ]
}

/** @throws rules.rule-not-found, rules.invalid-rule, request.invalid-input */
async function findTested(context: RulesContext, { name, rule }: Which, ctx: ReadContext): Promise<TestedRule> {
  const { operations } = context
  if ((name === undefined) === (rule === undefined))
    throw new AppError(
      "request.invalid-input",
      "give exactly one of `name`, a rule that is stored, and `rule`, a draft",
    )
  if (rule) {
    const definition = definitionOf(rule)
    refuseFaulty(rule.name, await findPresentIssues(context, definition, ctx))
    return { rule: rule.name, definition, parts: makeParts({ rule: rule.name, version: 1 }, definition, operations) }
  }
  const row = await getRule(ctx.sql, ctx.account, name ?? "")
  const { definition, broken, parts } = loadRule(row, operations)
  if (!definition || broken !== undefined)
    throw new AppError("rules.invalid-rule", `the rule "${row.name}": ${broken ?? ""}`)
  const outdated = context.findOutdated(row)
  return { rule: row.name, version: row.version, definition, parts, ...(outdated !== undefined && { outdated }) }
}

/** @throws request.invalid-input, rules.event-not-found */
async function findOccurrence(
  context: RulesContext,
  { eventId, event, call }: InputOf<typeof rulesTest>,
  ctx: ReadContext,
): Promise<Occurrence> {
  const { account, now } = ctx
  if ([eventId, event, call].filter((each) => each !== undefined).length !== 1)
    throw new AppError("request.invalid-input", "give exactly one of `eventId`, `event` and `call`")
  if (eventId !== undefined) return occurrenceOf(await getEvent(context, ctx, eventId), account)
  if (event) return occurrenceOf({ ...event, time: event.time === undefined ? now : Date.parse(event.time) }, account)
  assertCall(call)
  const made = madeUpCall(context, call, ctx)
  if (call.phase === "before") return { kind: "before", call: made }
  return { kind: "after", call: made, output: call.output ?? null }
}

type MadeUp = NonNullable<InputOf<typeof rulesTest>["call"]>

function assertCall(call: MadeUp | undefined): asserts call is MadeUp {
  if (!call) throw new AppError("request.invalid-input", "give a call")
}

/** With the defaults of the operation's schema, as far as the input fits it. */
function madeUpCall({ operations }: RulesContext, call: MadeUp, ctx: ReadContext) {
  const operation = operations.get(call.operation)
  const parsed = operation?.input.safeParse(call.input)
  const { principal, kind, roles, teams } = ctx.caller
  return {
    account: ctx.account,
    operation: call.operation,
    caller: (call.caller as typeof ctx.caller | undefined) ?? { principal, kind, roles, ...(teams && { teams }) },
    input: parsed?.success === true ? parsed.data : call.input,
  }
}

/** @throws rules.event-not-found */
async function getEvent({ expanders }: RulesContext, { sql, account }: ReadContext, id: string): Promise<RuleEvent> {
  // One that stands in a batch is named by its row and its place: `evt_…#3`.
  const [value = id] = id.split("#", 1)
  const found = await findEvents(sql, { account, field: "id", value, limit: 1, expanders })
  const event = found.find((each) => each.id === id)
  if (event) return toRuleEvent(event)
  throw new AppError("rules.event-not-found", `there is no event "${id}" in this account`)
}

function toRuleEvent({ id, type, subject, time, cause, depth, principal, data }: OutboxEvent): RuleEvent {
  return { id, type, subject, time, cause, depth, principal, data }
}

async function replay(context: RulesContext, input: InputOf<typeof rulesReplay>, ctx: ReadContext) {
  const tested = await findTested(context, input, ctx)
  const { sql, account, signal } = ctx
  const page = await readEvents(sql, {
    ...{ account, after: input.cursor, limit: input.limit, expanders: context.expanders },
  })
  const verdicts: Array<{ readonly event: RuleEvent; readonly verdict: Verdict }> = []
  for (const delivered of page.events) {
    signal.throwIfAborted()
    const event = toRuleEvent(delivered)
    const verdict = testRule(tested, occurrenceOf(event, account))
    if (verdict.outcome === "matched" || verdict.outcome === "failed") verdicts.push({ event, verdict })
  }
  return {
    items: verdicts.map(({ event, verdict: { outcome, reason, effects } }) => ({
      ...{ event: event.id, type: event.type, subject: event.subject, time: toInstant(event.time) },
      ...{ outcome, reason, effects },
    })),
    scanned: page.events.length,
    matched: verdicts.filter(({ verdict }) => verdict.outcome === "matched").length,
    failed: verdicts.filter(({ verdict }) => verdict.outcome === "failed").length,
    ...(page.more && page.cursor !== undefined ? { nextCursor: page.cursor } : {}),
  }
}
