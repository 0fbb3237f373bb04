/** What is wrong with a rule about operations of services outside, by what their documents say now. Pure. */
import type { RuleAction, RuleDefinition, RuleTrigger } from "@signalbox/contracts/rules/rule-document"
import type { Issue } from "@signalbox/kernel/app-error"
import type { ExternalOperation } from "../../router/external-ports.ts"
import { findRewriteFault, isSecretPlace, placeOf } from "../../router/external-rewrite.ts"
import { findValueIssues } from "../../router/external-template.ts"
import { isExternal, operationsOf, type Operations } from "./operation-pattern.ts"
import { shapeOf, shapeOfEach, shapeOfSchema, type Shape } from "./operation-shapes.ts"
import { eventVariables, shapedVariables, type RuleVariables } from "./rule-variables.ts"
import { triggersOf, variablesOf } from "./rule-parts.ts"

/** The operations of services outside that an account has registered, at this moment. */
export interface OutsideOperations {
  list(): readonly ExternalOperation[]
  find(name: string): ExternalOperation | undefined
}

/** A pattern that means more of them is taken for one that may mean anything. */
const typedMax = 100

/** Those that a pattern such as `ext.billing.*` means. */
export function outsideOf(outside: OutsideOperations, pattern: string): readonly ExternalOperation[] {
  if (!isExternal(pattern)) return []
  if (!pattern.endsWith("*")) return [outside.find(pattern)].filter((found) => found !== undefined)
  const start = pattern.slice(0, -1)
  return outside.list().filter(({ name }) => name.startsWith(start))
}

/** Whether a rule names a service outside. */
export function namesOutside({ on = [], do: actions }: RuleDefinition): boolean {
  return [...on, ...actions].some(({ operation }) => operation !== undefined && isExternal(operation))
}

interface Known {
  readonly operations: Operations
  readonly outside: OutsideOperations
}

/** What the expressions of one phase see, as far as it is known when the rule is stored. */
export function checkedVariables(definition: RuleDefinition, phase: "before" | "after", known: Known): RuleVariables {
  const triggers = triggersOf(definition, phase)
  if (!triggers.some(({ operation = "" }) => isExternal(operation)))
    return variablesOf(definition, phase, known.operations)
  const of = (side: "input" | "output"): Shape =>
    shapeOfEach(triggers.flatMap((trigger) => shapesOf(trigger, side, known)))
  return shapedVariables({ input: of("input"), output: of("output") }, phase)
}

/** As `actionVariables`, with what is known of services outside. */
export function checkedActionVariables(definition: RuleDefinition, known: Known): RuleVariables["variables"] {
  const { event } = eventVariables.variables
  const call = triggersOf(definition, "after").length > 0 ? checkedVariables(definition, "after", known).variables : {}
  return { ...call, ...(event && { event }) }
}

const unknown: Shape = { kind: "plain", type: "dyn" }

function shapesOf({ operation = "*" }: RuleTrigger, side: "input" | "output", { operations, outside }: Known): Shape[] {
  if (!isExternal(operation))
    return operationsOf(operations, operation).map((each) => (each ? shapeOf(each[side]) : unknown))
  const found = outsideOf(outside, operation)
  if (found.length === 0 || found.length > typedMax) return [unknown]
  return found.map(({ document }) => shapeOfSchema(side === "input" ? document().inputSchema : document().outputSchema))
}

/** Of a trigger; none of one that is about something else. */
export function outsideTriggerIssues(
  { operation = "", phase }: RuleTrigger,
  {
    outside,
    onlyHolds,
    path,
  }: { readonly outside: OutsideOperations; readonly onlyHolds: boolean; readonly path: string },
): Issue[] {
  const found = outsideOf(outside, operation)
  // Of a service as a whole, operations may come.
  if (operation.endsWith("*")) return []
  if (found.length === 0) return [{ path, message: `there is no operation "${operation}"` }]
  if (phase === "before" && onlyHolds && found.every(({ effect }) => effect === "read"))
    return [{ path, message: `"${operation}" can't be held: it can be denied or rewritten` }]
  return []
}

/** Of the fields that a rule rewrites. */
export function outsideRewriteIssues(
  operation: ExternalOperation,
  { rewrite = {} }: Pick<RuleAction, "rewrite">,
  path: string,
): Issue[] {
  const unreadable = operation.document().findFault()
  if (unreadable !== undefined)
    return [{ path, message: `calls of "${operation.name}" can't be compared with its document: ${unreadable}` }]
  return Object.entries(rewrite).flatMap(([field, value]) => {
    const at = `${path}.${field}`
    const fault = findRewriteFault(operation, field)
    if (fault !== undefined) return [{ path: at, message: `of "${operation.name}": ${fault}` }]
    const issues = findValueIssues(operation, { place: placeOf(field), value, path: at })
    if (issues.length > 0 || !isSecretPlace(operation, field, value)) return issues
    return [{ path: at, message: `"${operation.name}" takes a secret there, which a rule can't keep` }]
  })
}
