/**
 * Templates, groups, associations and delegations of every account in memory: gates ask on each changing call, and
 * decisions must not read a hundred members each time. An account's part is replaced whole when its version grows.
 */
import { withGroups } from "@signalbox/approvals/judge-template"
import {
  indexAssociations,
  matchAssociation,
  type Association,
  type AssociationIndex,
} from "@signalbox/approvals/match-association"
import type { Delegation, GroupRule, PinnedTemplate, TemplateRule } from "@signalbox/approvals/template-rules"
import type { RequestAttributes } from "@signalbox/approvals/types"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import type { Sql } from "../../storage/database.ts"
import { readAssociations, selectorOf, type AssociationRow } from "./association-store.ts"
import { readDelegations } from "./delegation-store.ts"
import type { MemberDefinition } from "./definitions.ts"
import { readGroups } from "./group-store.ts"
import { findPerson, type PeopleSource } from "./people.ts"
import { memberKey, memberRuleOf, templateRuleOf, type KnownPerson } from "./rules.ts"
import { readTemplates } from "./template-store.ts"

export const configurationComponent = "approvals.configuration"
export const delegationsComponent = "approvals.delegations"

interface KnownTemplate {
  readonly version: number
  readonly rule: TemplateRule
  readonly linkLogin: boolean
}

interface IndexedAssociation extends Association {
  readonly row: AssociationRow
}

interface AccountConfiguration {
  readonly templates: ReadonlyMap<string, KnownTemplate>
  readonly groups: ReadonlyMap<string, readonly MemberDefinition[]>
  readonly associations: AssociationIndex<IndexedAssociation>
}

export interface MatchedTemplate {
  readonly association: AssociationRow
  /** With the association's groups. */
  readonly template: PinnedTemplate
}

export interface ApprovalDirectory {
  readonly listeners: readonly ConfigurationListener[]
  /** Reads an account anew, for work that follows a change and must not miss it. */
  refresh(account: string): Promise<void>
  /** The most specific association that these attributes match, and its template; undefined where none does. */
  match(account: string, attributes: RequestAttributes): MatchedTemplate | undefined
  findTemplate(
    account: string,
    of: { readonly name: string; readonly groups: Readonly<Record<string, string>> },
  ): PinnedTemplate | undefined
  /** Whether whoever answers by a link has to log in too; by the template's present version. */
  needsLogin(account: string, template: string): boolean
  /** A group with its members as they are now. */
  findGroup(
    account: string,
    of: { readonly name: string; readonly people: PeopleSource; readonly now: number },
  ): GroupRule | undefined
  /** How a member of a group can be reached. */
  findContacts(account: string, of: { readonly groups: readonly string[]; readonly key: string }): MemberDefinition[]
  delegationsOf(account: string, memberKey: string): readonly Delegation[]
}

export function createApprovalDirectory(sql: Sql): ApprovalDirectory {
  const configurations = new Map<string, AccountConfiguration>()
  const delegations = new Map<string, ReadonlyMap<string, readonly Delegation[]>>()
  const loadConfiguration = async (account: string): Promise<void> => {
    configurations.set(account, await readConfiguration(sql, account))
  }
  const loadDelegations = async (account: string): Promise<void> => {
    delegations.set(account, await readDelegationsByMember(sql, account))
  }
  const findTemplate: ApprovalDirectory["findTemplate"] = (account, { name, groups }) => {
    const found = configurations.get(account)?.templates.get(name)
    return found && { name, version: found.version, rule: withGroups(found.rule, groups) }
  }
  return {
    listeners: [
      { component: configurationComponent, load: loadConfiguration },
      { component: delegationsComponent, load: loadDelegations },
    ],
    async refresh(account) {
      await Promise.all([loadConfiguration(account), loadDelegations(account)])
    },
    match(account, attributes) {
      const known = configurations.get(account)
      const association = known && matchAssociation(known.associations, attributes)?.row
      if (!association) return undefined
      const template = findTemplate(account, { name: association.template, groups: association.groups })
      return template && { association, template }
    },
    findTemplate,
    needsLogin: (account, template) => configurations.get(account)?.templates.get(template)?.linkLogin ?? true,
    findGroup(account, { name, people, now }) {
      const members = configurations.get(account)?.groups.get(name)
      return members && groupRuleOf(name, members, (reference) => findPerson(people, account, { reference, now }))
    },
    findContacts(account, { groups, key }) {
      const known = configurations.get(account)?.groups
      return groups.flatMap((name) => (known?.get(name) ?? []).filter((member) => memberKey(member) === key))
    },
    delegationsOf: (account, memberKeyText) => delegations.get(account)?.get(memberKeyText) ?? [],
  }
}

/** A group as the machine wants it, its principals looked up. */
export function groupRuleOf(
  name: string,
  members: readonly MemberDefinition[],
  find: (principal: string) => KnownPerson | undefined,
): GroupRule {
  return {
    name,
    members: members.map((member) =>
      memberRuleOf(member, member.principal === undefined ? undefined : find(member.principal)),
    ),
  }
}

async function readConfiguration(sql: Sql, account: string): Promise<AccountConfiguration> {
  const [templates, groups, associations] = await Promise.all([
    readTemplates(sql, account),
    readGroups(sql, account),
    readAssociations(sql, account),
  ])
  return {
    templates: new Map(
      templates.map(({ name, version, definition }) => [
        name,
        { version, rule: templateRuleOf(definition), linkLogin: definition.linkLogin },
      ]),
    ),
    groups: new Map(groups.map(({ name, members }) => [name, members])),
    associations: indexAssociations(
      associations.map((row) => ({ name: row.name, selector: selectorOf(row.selector), row })),
    ),
  }
}

async function readDelegationsByMember(sql: Sql, account: string): Promise<ReadonlyMap<string, Delegation[]>> {
  const found = new Map<string, Delegation[]>()
  for (const { member, delegate, fromAt, untilAt } of await readDelegations(sql, account)) {
    const list = found.get(member.key) ?? []
    list.push({ to: delegate, from: fromAt, until: untilAt })
    found.set(member.key, list)
  }
  return found
}
