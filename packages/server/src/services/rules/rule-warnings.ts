/** What a rule names that isn't there: it may be made later, so the rule is stored all the same, and says so. Pure. */
import type { OutputOf } from "@signalbox/contracts/operation"
import type { rulesGet } from "@signalbox/contracts/rules/operations"
import type { RuleAction, RuleDefinition, RuleTrigger } from "@signalbox/contracts/rules/rule-document"

export type RuleWarning = NonNullable<OutputOf<typeof rulesGet>["warnings"]>[number]

export const namedKinds = ["signal", "hook", "trigger", "workflow", "template"] as const
export type NamedKind = (typeof namedKinds)[number]

/** Something that a rule names, and the place where it does. */
export interface Reference {
  readonly kind: NamedKind | "service"
  readonly name: string
  readonly path: string
}

/** Answers without waiting. */
export type IsThere = (reference: Pick<Reference, "kind" | "name">) => boolean

const words: Readonly<
  Record<Reference["kind"], { readonly code: string; readonly what: string; readonly how: string }>
> = {
  signal: { code: "triggers.signal-not-found", what: "signal", how: "signalbox apply -f" },
  hook: { code: "triggers.hook-not-found", what: "hook", how: "signalbox hooks put" },
  trigger: { code: "triggers.trigger-not-found", what: "trigger", how: "signalbox triggers put" },
  workflow: { code: "workflows.not-found", what: "workflow", how: "signalbox apply -f" },
  template: { code: "approvals.template-not-found", what: "approval template", how: "signalbox apply -f" },
  service: { code: "gateway.service-not-found", what: "service", how: "signalbox apply -f" },
}

/** Each place once; texts with expressions say nothing before the rule fires. */
export function referencesOf({ on = [], do: actions }: RuleDefinition): Reference[] {
  return [
    ...on.flatMap((trigger, index) => referencesOfTrigger(trigger, `on.${index}`)),
    ...actions.flatMap((action, index) => referencesOfAction(action, `do.${index}`)),
  ]
}

/** Of each reference that isn't there: what follows from it, and what to do. */
export function warningsOf(references: readonly Reference[], isThere: IsThere): RuleWarning[] {
  return references
    .filter((reference) => !isThere(reference))
    .map(({ kind, name, path }) => {
      const { code, what, how } = words[kind]
      const follows = path.startsWith("on.")
        ? "nothing sets the rule going here"
        : kind === "template"
          ? "calls that it matches are refused"
          : "this action fails"
      return {
        code,
        path,
        message: `there is no ${what} "${name}": ${follows} until it is made (${how}) or the name is corrected`,
      }
    })
}

function referencesOfTrigger({ signal, webhook, trigger, operation }: RuleTrigger, path: string): Reference[] {
  if (signal !== undefined) return [{ kind: "signal", name: signal, path: `${path}.signal` }]
  if (webhook !== undefined) return [{ kind: "hook", name: webhook, path: `${path}.webhook` }]
  if (trigger !== undefined) return [{ kind: "trigger", name: trigger, path: `${path}.trigger` }]
  return operation === undefined ? [] : referencesOfOperation(operation, `${path}.operation`)
}

/** Actions whose input says by which name they start something. */
const named: Readonly<Record<string, { readonly field: string; readonly kind: NamedKind }>> = {
  "executions.create": { field: "workflow", kind: "workflow" },
  "triggers.fire": { field: "name", kind: "trigger" },
}

function referencesOfAction({ operation, input, requireApproval }: RuleAction, path: string): Reference[] {
  if (requireApproval)
    return [{ kind: "template", name: requireApproval.template, path: `${path}.requireApproval.template` }]
  if (operation === undefined) return []
  const { field, kind } = named[operation] ?? {}
  const name = field === undefined ? undefined : input?.[field]
  if (field !== undefined && kind && typeof name === "string" && !name.includes("${{"))
    return [{ kind, name, path: `${path}.input.${field}` }]
  return []
}

/** All operations of a service outside, which may come later; those that are named singly are checked when it is put. */
function referencesOfOperation(operation: string, path: string): Reference[] {
  const [, service] = /^ext\.([^.*]+)\.\*$/.exec(operation) ?? []
  return service === undefined ? [] : [{ kind: "service", name: service, path }]
}
