import { judgeTemplate, withGroups, type TemplateIssue } from "@signalbox/approvals/judge-template"
import type { TemplateRule } from "@signalbox/approvals/template-rules"
import { AppError } from "@signalbox/kernel/app-error"
import type { ChangeContext } from "../../router/handler.ts"
import { groupRuleOf } from "./approval-directory.ts"
import { readAssociations } from "./association-store.ts"
import type { AssociationDefinition, MemberDefinition, TemplateDefinition } from "./definitions.ts"
import { readGroups } from "./group-store.ts"
import type { ApprovalsContext } from "./options.ts"
import { findPerson } from "./people.ts"
import { templateRuleOf } from "./rules.ts"
import { readTemplates } from "./template-store.ts"

/** What is about to be, over what is. */
export interface PendingChange {
  readonly templates?: ReadonlyMap<string, TemplateDefinition>
  readonly groups?: ReadonlyMap<string, readonly MemberDefinition[]>
  readonly associations?: ReadonlyMap<string, AssociationDefinition>
}

interface Candidate {
  readonly template: string
  readonly association: string | undefined
  /** For people: which template, with whose groups. */
  readonly label: string
  readonly rule: TemplateRule
  /** Then members who have only an address, and so no login, can't answer. */
  readonly linkLogin: boolean
}

/**
 * Refuses a change after which a template could never be satisfied by its groups, its own or those of an association.
 * The account's configuration is locked by the caller. Gives what is worth knowing all the same.
 *
 * @throws approvals.group-not-found, approvals.unreachable
 */
export async function refuseImpossible(
  context: ApprovalsContext,
  ctx: ChangeContext,
  change: PendingChange,
): Promise<TemplateIssue[]> {
  const { account, now, tx } = ctx
  const stored = new Map((await readGroups(tx, account)).map(({ name, members }) => [name, members]))
  const groups = new Map([...stored, ...(change.groups ?? [])])
  const warnings: TemplateIssue[] = []
  for (const { label, rule, linkLogin } of (await readCandidates(ctx, change)).filter((each) =>
    isTouched(each, change),
  )) {
    const missing = groupNames(rule).find((name) => !groups.has(name))
    if (missing !== undefined)
      throw new AppError("approvals.group-not-found", `${label} names the group "${missing}", which there is not`)
    const issues = judgeTemplate(rule, (name) => {
      const members = groups.get(name)
      const able = members?.filter(({ principal }) => !linkLogin || principal !== undefined)
      return able && groupRuleOf(name, able, (reference) => findPerson(context.principals, account, { reference, now }))
    })
    const errors = issues.filter(({ severity }) => severity === "error")
    if (errors.length > 0)
      throw refusalOf(linkLogin ? `${label}, which only members with a login can answer,` : label, errors)
    warnings.push(...issues)
  }
  return warnings
}

/** What makes no sense by itself is an invalid template; the rest is one that its groups can't satisfy. */
function refusalOf(label: string, issues: readonly TemplateIssue[]): AppError {
  const [first] = issues
  const isExpression = first !== undefined && /^(?:approveWhen|denyWhen|keepVotesWhen)$/.test(first.path)
  return new AppError(
    isExpression ? "expressions.invalid" : "approvals.unreachable",
    `${label} can't be used: ${first?.path ?? ""}: ${first?.message ?? ""}`,
    { issues: [...issues] },
  )
}

/** Every template, alone and with each association's groups, as it would be. */
async function readCandidates({ tx, account }: ChangeContext, change: PendingChange): Promise<Candidate[]> {
  const stored = new Map((await readTemplates(tx, account)).map(({ name, definition }) => [name, definition]))
  const templates = new Map([...stored, ...(change.templates ?? [])])
  const rows = await readAssociations(tx, account)
  const associations = new Map<string, AssociationDefinition>([
    ...rows.map((row) => [row.name, row] as const),
    ...(change.associations ?? []),
  ])
  const alone = [...templates].map(([name, definition]) => ({
    ...{ template: name, association: undefined, label: `the template "${name}"` },
    ...{ rule: templateRuleOf(definition), linkLogin: definition.linkLogin },
  }))
  const joined = [...associations].flatMap(([name, { template, groups }]) => {
    const definition = templates.get(template)
    if (!definition || Object.keys(groups).length === 0) return []
    const label = `the template "${template}" with the groups of the association "${name}"`
    const rule = withGroups(templateRuleOf(definition), groups)
    return [{ template, association: name, label, rule, linkLogin: definition.linkLogin }]
  })
  return [...alone, ...joined]
}

/** What is not touched was judged when it was made. */
function isTouched({ template, association, rule }: Candidate, change: PendingChange): boolean {
  const { groups, templates, associations } = change
  return (
    (groups !== undefined && groupNames(rule).some((name) => groups.has(name))) ||
    templates?.has(template) === true ||
    (association !== undefined && associations?.has(association) === true)
  )
}

function groupNames(rule: TemplateRule): string[] {
  return rule.levels.flatMap(({ group, escalation }) => [
    group,
    ...(escalation?.group === undefined ? [] : [escalation.group]),
  ])
}
