/** How rules are stored, shown and removed. */
import { actionsStorms } from "@signalbox/contracts/actions/operations"
import { templatesGet } from "@signalbox/contracts/approvals/templates"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { rulesGet, rulesList, rulesPut, rulesRemove } from "@signalbox/contracts/rules/operations"
import { rulesLimits, type RuleDefinition } from "@signalbox/contracts/rules/rule-document"
import { AppError, hasCode, type Issue } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import { raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Sql, Tx } from "../../storage/database.ts"
import { namesOutside } from "./check-outside.ts"
import { findRuleIssues } from "./check-rule.ts"
import { findWarnings } from "./find-warnings.ts"
import type { RulesContext } from "./options.ts"
import { isScheduled, scheduleIssues } from "./own-schedules.ts"
import { outsideIn } from "./outdated-rules.ts"
import { rulesComponent } from "./rule-directory.ts"
import {
  countRules,
  deleteRule,
  findRule,
  findRuleVersion,
  listRules,
  lockRule,
  putRule,
  type RuleRow,
} from "./rule-store.ts"
import type { RuleWarning } from "./rule-warnings.ts"
import { toRule } from "./rule-wire.ts"

type Written = InputOf<typeof rulesPut>

export function ruleHandlers(context: RulesContext): Handler[] {
  const { directory } = context
  const show = (row: RuleRow) => {
    const broken = directory.findBroken(row.account, { rule: row.name, version: row.version })
    const outdated = broken === undefined ? context.findOutdated(row) : undefined
    return { ...toRule(row, broken), ...(outdated !== undefined && { outdated }) }
  }
  const warningsFor = async (row: Pick<RuleRow, "account" | "definition">, sql: Sql) => {
    const [warnings = []] = await findWarnings(context, { sql, account: row.account }, [row.definition])
    return shownWarnings(warnings)
  }
  return [
    onChange(
      rulesPut,
      async (input, ctx) => {
        const { row, changed } = await put(context, input, ctx)
        return { ...toRule(row, undefined), ...(await warningsFor(row, ctx.tx)), changed }
      },
      { prepare: (input, ctx) => prepare(context, input, ctx) },
    ),
    onRead(rulesGet, async ({ name, version }, ctx) => {
      const { sql, account } = ctx
      const row = await getRule(sql, account, name)
      if (version === undefined || version === row.version)
        return { ...show(row), ...(await warningsFor(row, sql)), ...(await findActivity(context, row, ctx)) }
      const found = await findRuleVersion(sql, account, { name, version })
      if (!found) throw ruleNotFound(name, version)
      const { publishedAt: changedAt, ...rest } = found
      const earlier = { ...row, ...rest, changedAt, faultAt: null }
      return { ...toRule(earlier, undefined), ...(await warningsFor(earlier, sql)) }
    }),
    onRead(rulesList, async ({ cursor, limit }, { sql, account }) => {
      const [after = ""] = cursor === undefined ? [] : decodeCursor(cursor, 1)
      const rows = await listRules(sql, account, { after: String(after), limit: limit + 1 })
      const shown = rows.slice(0, limit)
      const last = shown.at(-1)
      const warnings = await findWarnings(
        context,
        { sql, account },
        shown.map(({ definition }) => definition),
      )
      return {
        items: shown.map((row, index) => ({ ...show(row), ...shownWarnings(warnings[index] ?? []) })),
        ...(rows.length > limit && last ? { nextCursor: encodeCursor([last.name]) } : {}),
      }
    }),
    onChange(rulesRemove, async ({ name }, ctx) => {
      const { tx, account } = ctx
      await lockRules(tx, account)
      const row = await getRule(tx, account, name)
      await deleteRule(tx, account, name)
      await changed(context, ctx, {
        row: { ...row, version: row.version + 1 },
        type: "rule.removed",
        scheduled: isScheduled(row),
      })
      return { name }
    }),
  ]
}

/** Absent where there are none. */
export function shownWarnings(warnings: readonly RuleWarning[]): { readonly warnings?: RuleWarning[] } {
  return warnings.length === 0 ? {} : { warnings: [...warnings] }
}

/** What storm control did with its events. A rule is shown without where that can't be told now. */
async function findActivity(
  { caller, logger }: RulesContext,
  { name: rule }: RuleRow,
  { account, cause, requestId, depth }: ReadContext,
): Promise<Pick<OutputOf<typeof rulesGet>, "activity">> {
  const as = { account, service: "rules", roles: ["viewer"], cause, causedBy: requestId, depth } as const
  try {
    const { items } = await caller.call(actionsStorms, { rule, limit: 1 }, as)
    const [storm] = items
    if (!storm) return {}
    const { rule: _, ...activity } = storm
    return { activity }
  } catch (error) {
    logger.warn({ rule, reason: String(error) }, "what storm control did with a rule can't be told now")
    return {}
  }
}

/** Until the transaction ends nobody else changes the account's rules: their number is bounded. */
async function lockRules(tx: Tx, account: string): Promise<void> {
  await tx.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [`rules.configuration ${account}`])
}

/** By what is registered now: a service that was put on another server a moment ago may not be known here yet. */
export async function findPresentIssues(
  context: RulesContext,
  definition: RuleDefinition,
  { account, caller: { permissions } }: ReadContext,
): Promise<Issue[]> {
  const { operations, external } = context
  const find = (): Issue[] =>
    findRuleIssues(definition, { operations, permissions, outside: outsideIn(external, account) })
  const issues = find()
  if (issues.length === 0 || !namesOutside(definition)) return issues
  await context.configurationChanged()
  return find()
}

/** @throws rules.invalid-rule, rules.author-refused */
async function prepare(context: RulesContext, written: Written, ctx: ReadContext): Promise<void> {
  const { account, caller, now } = ctx
  if (!context.principals.findPrincipal(account, caller.principal, now))
    throw new AppError("rules.author-refused", `${caller.principal} is no lasting principal of this account`)
  const definition = definitionOf(written)
  refuseFaulty(written.name, await findPresentIssues(context, definition, ctx))
  refuseFaulty(written.name, await templateIssues(context, definition, ctx))
  refuseFaulty(written.name, await scheduleIssues(context, definition, ctx))
}

/** @throws rules.invalid-rule */
export function refuseFaulty(name: string, issues: readonly Issue[]): void {
  const [first] = issues
  if (!first) return
  const place = first.line === undefined ? first.path : `${first.path}, line ${first.line}, column ${first.column}`
  throw new AppError("rules.invalid-rule", `the rule "${name}": ${place}: ${first.message}`, { issues })
}

/** Approval templates that there aren't. */
async function templateIssues(
  { caller }: RulesContext,
  { do: actions }: RuleDefinition,
  { account, cause, requestId, depth }: ReadContext,
): Promise<Issue[]> {
  const issues: Issue[] = []
  const as = { account, service: "rules", roles: ["viewer"], cause, causedBy: requestId, depth } as const
  for (const [index, { requireApproval }] of actions.entries()) {
    if (!requireApproval) continue
    const { template } = requireApproval
    try {
      await caller.call(templatesGet, { name: template }, as)
    } catch (error) {
      if (!hasCode(error, "approvals.template-not-found")) throw error
      issues.push({
        path: `do.${index}.requireApproval.template`,
        message: `there is no approval template "${template}"`,
      })
    }
  }
  return issues
}

/** What is published under a version; members that are undefined are left out, as in the database. */
export function definitionOf(written: Written): RuleDefinition {
  const { name: _, enabled: _enabled, ...definition } = written
  return JSON.parse(JSON.stringify(definition)) as RuleDefinition
}

async function put(
  context: RulesContext,
  written: Written,
  ctx: ChangeContext,
): Promise<{ row: RuleRow; changed: boolean }> {
  const { tx, account, caller, now } = ctx
  const { name } = written
  const definition = definitionOf(written)
  await lockRules(tx, account)
  const existing = await lockRule(tx, account, name)
  const enabled = written.enabled ?? existing?.enabled ?? true
  const author = caller.principal
  if (existing && isSame(existing, { definition, enabled, author })) return { row: existing, changed: false }
  if (!existing && (await countRules(tx, account)) >= rulesLimits.rulesMax)
    throw new AppError("rules.too-many", `an account has ${rulesLimits.rulesMax} rules at most`)
  const id = existing?.id ?? newId("rule", context.clock, context.random)
  const row = await putRule(tx, { account, name, id, enabled, definition, author }, now)
  const type = existing ? "rule.changed" : "rule.created"
  await changed(context, ctx, { row, type, scheduled: isScheduled(row) || (existing ? isScheduled(existing) : false) })
  return { row, changed: true }
}

function isSame(row: RuleRow, wanted: Pick<RuleRow, "definition" | "enabled" | "author">): boolean {
  const { definition, enabled, author } = row
  return canonicalJson({ definition, enabled, author }) === canonicalJson(wanted)
}

/** Tells of a change of a rule, and makes every server load it. */
async function changed(
  context: RulesContext,
  ctx: ChangeContext,
  { row, type, scheduled }: { readonly row: RuleRow; readonly type: string; readonly scheduled: boolean },
): Promise<void> {
  const { id, name, version, enabled } = row
  ctx.emit({ aggregate: id, type, subject: id, version, data: { name, version, enabled, scheduled } })
  await raiseConfigurationVersion(ctx.tx, ctx.account, rulesComponent)
  ctx.afterCommit(context.configurationChanged)
}

/** @throws rules.rule-not-found */
export async function getRule(sql: Sql, account: string, name: string): Promise<RuleRow> {
  const row = await findRule(sql, account, name)
  if (!row) throw ruleNotFound(name)
  return row
}

function ruleNotFound(name: string, version?: number): AppError {
  const which = version === undefined ? "" : `version ${version} of `
  return new AppError("rules.rule-not-found", `there is no ${which}rule "${name}" in this account`)
}
