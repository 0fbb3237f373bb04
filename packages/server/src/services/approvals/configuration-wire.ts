/** Templates, groups, associations and delegations as the operations give them. Pure. */
import type { associationsGet } from "@signalbox/contracts/approvals/associations"
import type { delegationsRemove } from "@signalbox/contracts/approvals/delegations"
import type { approvalGroupsGet } from "@signalbox/contracts/approvals/groups"
import type { templatesGet } from "@signalbox/contracts/approvals/templates"
import type { OutputOf } from "@signalbox/contracts/operation"
import { toInstant } from "@signalbox/kernel/clock"
import type { AssociationRow } from "./association-store.ts"
import type { DelegationRow } from "./delegation-store.ts"
import type { GroupRow } from "./group-store.ts"
import type { TemplateRow } from "./template-store.ts"

interface Changed {
  readonly version: number
  readonly createdAt: number
  readonly changedAt: number
  readonly changedBy: string
}

const changes = ({ version, createdAt, changedAt, changedBy }: Changed) => ({
  version,
  createdAt: toInstant(createdAt),
  changedAt: toInstant(changedAt),
  changedBy,
})

export function toTemplate(row: Omit<TemplateRow, "account" | "removed">): OutputOf<typeof templatesGet> {
  return { id: row.id, name: row.name, ...row.definition, ...changes(row) }
}

export function toGroup(row: GroupRow): OutputOf<typeof approvalGroupsGet> {
  const { id, name, description, members } = row
  return {
    ...{ id, name },
    ...(description === null ? {} : { description }),
    members: members.map((member) => ({ ...member })),
    ...changes(row),
  }
}

export function toAssociation(row: AssociationRow): OutputOf<typeof associationsGet> {
  const { id, name, description, template, groups, selector, bind } = row
  return {
    ...{ id, name },
    ...(description === null ? {} : { description }),
    ...{ template, groups: { ...groups }, selector, bind },
    ...changes(row),
  }
}

export function toDelegation(row: DelegationRow): OutputOf<typeof delegationsRemove> {
  const { id, member, delegate, fromAt, untilAt, note, version, createdAt, createdBy, endedAt } = row
  return {
    id,
    member: { ...member },
    ...(delegate === null ? {} : { to: { ...delegate } }),
    from: toInstant(fromAt),
    until: toInstant(untilAt),
    ...(note === null ? {} : { note }),
    version,
    createdAt: toInstant(createdAt),
    createdBy,
    ...(endedAt === null ? {} : { endedAt: toInstant(endedAt) }),
  }
}
