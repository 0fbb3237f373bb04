/** What is wrong with a rule that is to be stored: each fault with its place. Pure. */
import type { RuleAction, RuleDefinition, RuleTrigger } from "@signalbox/contracts/rules/rule-document"
import { rulesLimits } from "@signalbox/contracts/rules/rule-document"
import type { Permission } from "@signalbox/contracts/identity/roles"
import type { AnyOperation } from "@signalbox/contracts/operation"
import { compileExpression } from "@signalbox/expressions/compile-expression"
import { findPosition } from "@signalbox/expressions/expression-fault"
import { parseExpression } from "@signalbox/expressions/parse-expression"
import { isAppError, type Issue } from "@signalbox/kernel/app-error"
import { getDuration } from "@signalbox/kernel/duration"
import { compileInputTemplate } from "@signalbox/rules/input-template"
import { findUnguarded } from "@signalbox/rules/find-unguarded"
import {
  checkedActionVariables,
  checkedVariables,
  outsideOf,
  outsideRewriteIssues,
  outsideTriggerIssues,
  type OutsideOperations,
} from "./check-outside.ts"
import { findTemplateIssues, hasExpression } from "../../router/external-template.ts"
import { canBeHeld, isExternal, operationsOf, type Operations } from "./operation-pattern.ts"
import { isGating, memberLists, phaseOf, triggersOf } from "./rule-parts.ts"
import { eventVariables, type RuleVariables } from "./rule-variables.ts"

const phases = ["before", "after", "event"] as const
type Phase = (typeof phases)[number]

export interface CheckContext {
  readonly operations: Operations
  /** What the account has registered of services outside. */
  readonly outside: OutsideOperations
  /** What its author may do. */
  readonly permissions: ReadonlySet<Permission>
}

/** Those that can be told without asking anybody else; none: the rule compiles. */
export function findRuleIssues(definition: RuleDefinition, context: CheckContext): Issue[] {
  const structure = [...structureIssues(definition)]
  if (structure.length > 0) return structure
  return [
    ...triggerIssues(definition, context),
    ...expressionIssues(definition, context),
    ...definition.do.flatMap((action, index) => actionIssues(definition, { action, path: `do.${index}` }, context)),
    ...costIssues(definition),
  ]
}

function* structureIssues({ on, correlate, limit, do: actions }: RuleDefinition): Generator<Issue> {
  if ((on === undefined) === (correlate === undefined))
    yield { path: "on", message: "a rule has `on` or `correlate`, and not both" }
  if (correlate && limit) yield { path: "limit", message: "a correlation counts by itself: a limit has no meaning" }
  const has = (phase: Phase): boolean =>
    phase === "event" && correlate ? true : (on ?? []).some((trigger) => phaseOf(trigger) === phase)
  const gates = actions.some(isGating)
  const follows = actions.some((action) => !isGating(action))
  if (gates && !has("before"))
    yield { path: "do", message: "deny, requireApproval, delay and rewrite need a trigger with `phase: before`" }
  if (has("before") && !gates)
    yield {
      path: "do",
      message:
        "before an operation a rule can deny, requireApproval, delay or rewrite; to follow it use `phase: after`",
    }
  if (follows && !has("after") && !has("event"))
    yield { path: "do", message: "an operation follows something: use `phase: after`, or another trigger" }
  if (!follows && (has("after") || has("event")))
    yield { path: "do", message: "after an operation, and because of an event, a rule can only call an operation" }
  for (const [index, { delay }] of actions.entries())
    if (delay !== undefined && getDuration(delay) > rulesLimits.delayMillisecondsMax)
      yield { path: `do.${index}.delay`, message: "30 days at most" }
}

function triggerIssues({ on = [], do: actions }: RuleDefinition, { operations, outside }: CheckContext): Issue[] {
  const onlyHolds = actions.filter(isGating).every(({ delay, requireApproval }) => delay ?? requireApproval)
  return on.flatMap((trigger, index) => {
    const { operation, phase } = trigger
    if (operation === undefined) return []
    const path = `on.${index}.operation`
    if (isExternal(operation)) return outsideTriggerIssues(trigger, { outside, onlyHolds, path })
    const found = operationsOf(operations, operation)
    if (found.length === 0) return [{ path, message: `there is no operation "${operation}"` }]
    const isPattern = operation.endsWith("*")
    const isOpen = found.every((each) => each?.effect === "stream" || each?.effect === "session")
    if (phase === "after" && isOpen) return [{ path, message: `"${operation}" has no end that a rule could follow` }]
    if (phase === "before" && !isPattern && onlyHolds && !found.some(canBeHeld))
      return [{ path, message: `"${operation}" can't be held: it can be denied or rewritten` }]
    return []
  })
}

function expressionIssues(definition: RuleDefinition, context: CheckContext): Issue[] {
  const { when, limit, correlate } = definition
  const conditions = phases
    .filter((phase) => when !== undefined && triggersOf(definition, phase).length > 0)
    .flatMap((phase) => conditionIssues(when ?? "", "when", seenIn(definition, phase, context)))
  const [first] = conditions
  const grouping = checkedActionVariables(definition, context)
  const by = [
    ...(limit?.by ?? []).map((text, index) => ({ text, path: `limit.by.${index}` })),
    ...(correlate?.by ?? []).map((text, index) => ({ text, path: `correlate.by.${index}` })),
  ]
  const members = memberLists.flatMap((list) =>
    (correlate?.[list] ?? []).flatMap(({ when: text }, index) =>
      text === undefined ? [] : conditionIssues(text, `correlate.${list}.${index}.when`, eventVariables),
    ),
  )
  return [
    ...(first ? [first] : []),
    ...by.flatMap(({ text, path }) =>
      attempt(path, () => compileExpression(text, { variables: grouping, resultType: "any" })),
    ),
    ...members,
  ]
}

function seenIn(definition: RuleDefinition, phase: Phase, context: CheckContext): RuleVariables {
  return phase === "event" ? eventVariables : checkedVariables(definition, phase, context)
}

function conditionIssues(text: string, path: string, { variables, isOptional }: RuleVariables): Issue[] {
  const issues = attempt(path, () => compileExpression(text, { variables, resultType: "bool" }))
  if (issues.length > 0) return issues
  return findUnguarded(parseExpression(text), { variables, isOptional }).map((field) => ({
    path,
    message: `${field.path} may be absent: write has(${field.path}) && …`,
    ...findPosition(text, field.at),
  }))
}

/** Its own issues, under the path of the text. */
function attempt(path: string, compile: () => unknown): Issue[] {
  try {
    compile()
    return []
  } catch (error) {
    if (!isAppError(error)) throw error
    const [issue] = error.issues
    const place = issue?.path ? `${path}.${issue.path}` : path
    return [{ ...issue, path: place, message: issue?.message ?? error.message }]
  }
}

function actionIssues(
  definition: RuleDefinition,
  { action, path }: { readonly action: RuleAction; readonly path: string },
  context: CheckContext,
): Issue[] {
  if (action.operation !== undefined) return callIssues(definition, { action, path }, context)
  const { rewrite } = action
  if (!rewrite) return []
  const before = checkedVariables(definition, "before", context).variables
  const issues = attempt(`${path}.rewrite`, () => compileInputTemplate(rewrite, before))
  const patterns = triggersOf(definition, "before").map(({ operation = "*" }: RuleTrigger) => operation)
  const named = patterns.flatMap((pattern) => operationsOf(context.operations, pattern))
  const outside = patterns.flatMap((pattern) => outsideOf(context.outside, pattern))
  const shaped = [...new Set(named)].flatMap((operation) =>
    operation ? fieldIssues(operation, rewrite, `${path}.rewrite`) : [],
  )
  const foreign = [...new Set(outside)].flatMap((each) => outsideRewriteIssues(each, action, `${path}.rewrite`))
  return [...issues, ...[...shaped, ...foreign].slice(0, issuesShownMax)]
}

const issuesShownMax = 20

function callIssues(
  definition: RuleDefinition,
  { action, path }: { readonly action: RuleAction; readonly path: string },
  context: CheckContext,
): Issue[] {
  const { operations, permissions } = context
  const { operation: name = "", input = {} } = action
  const at = `${path}.operation`
  const templates = attempt(`${path}.input`, () =>
    compileInputTemplate(input, checkedActionVariables(definition, context)),
  )
  const outside = context.outside.find(name)
  const operation = operations.get(name) ?? outside?.declaration
  if (!operation) return [{ path: at, message: `there is no operation "${name}"` }]
  if (operation.effect !== "change") return [{ path: at, message: `"${name}" changes nothing` }]
  if (operation.secretInput ?? operation.secretOutput)
    return [{ path: at, message: `"${name}" takes or gives a secret, which a rule can't keep` }]
  if (!permissions.has(operation.permission))
    return [{ path: at, message: `"${name}" needs the permission ${operation.permission}, which its author lacks` }]
  if (outside) return [...templates, ...findTemplateIssues(outside, input, `${path}.input`).slice(0, issuesShownMax)]
  const missing = Object.entries(operation.input.shape)
    .filter(([field, schema]) => !(field in input) && !schema.safeParse(undefined).success)
    .map(([field]) => ({ path: `${path}.input.${field}`, message: `"${name}" needs it` }))
  return [...templates, ...fieldIssues(operation, input, `${path}.input`), ...missing]
}

/** Fields that the operation doesn't have, and values that it doesn't take; what an expression gives is seen later. */
function fieldIssues(operation: AnyOperation, fields: Readonly<Record<string, unknown>>, path: string): Issue[] {
  return Object.entries(fields).flatMap(([field, value]): Issue[] => {
    const at = `${path}.${field}`
    const schema = operation.input.shape[field]
    if (!schema) return [{ path: at, message: `"${operation.name}" has no field "${field}"` }]
    if (hasExpression(value)) return []
    const result = schema.safeParse(value)
    if (result.success) return []
    const [issue] = result.error.issues
    const place = [at, ...(issue?.path ?? [])].join(".")
    return [{ path: place, message: `"${operation.name}" doesn't take this: ${issue?.message ?? "invalid"}` }]
  })
}

/** Each expression has a bound of its own; together they have this one. */
function* costIssues({ when, limit, correlate, do: actions }: RuleDefinition): Generator<Issue> {
  const members = memberLists.flatMap((list) => correlate?.[list] ?? [])
  const conditions = [when, ...(limit?.by ?? []), ...(correlate?.by ?? []), ...members.map((member) => member.when)]
  const inputs = actions.map(({ input, rewrite }) => JSON.stringify(input ?? rewrite ?? {}).split("${{").length - 1)
  const count = inputs.reduce((a, b) => a + b, 0) + conditions.filter((text) => text !== undefined).length
  if (count > rulesLimits.expressionsMax)
    yield { path: "do", message: `a rule has ${rulesLimits.expressionsMax} expressions at most; this one has ${count}` }
}
