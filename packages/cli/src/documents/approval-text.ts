import type { associationsApply } from "@signalbox/contracts/approvals/associations"
import type { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import type { templatesApply } from "@signalbox/contracts/approvals/templates"
import type { InputOf } from "@signalbox/contracts/operation"
import { stringify } from "yaml"
import { durationText } from "./duration-text.ts"

type Template = InputOf<typeof templatesApply>
type Level = Template["levels"][number]

/** An approval template as a document, always written the same way, so that two of them can be compared. */
export function templateText(template: Template): string {
  const { name, description, levels, approveWhen, denyWhen, onExpiry, keepVotesWhen, linkLogin } = template
  return stringify({
    kind: "ApprovalTemplate",
    name,
    ...given({ description }),
    levels: levels.map(levelOf),
    ...given({ approveWhen, denyWhen, keepVotesWhen }),
    onExpiry,
    linkLogin,
  })
}

function levelOf(level: Level): object {
  const { name, group, strategy, reject, veto, selfApproval, sameTeam, abstention, preNotice, signedVotes } = level
  const { reminders, escalation, expiresAfter } = level
  return {
    ...{ name, group, strategy },
    ...given({ reject }),
    ...{ veto, selfApproval, sameTeam, abstention, signedVotes },
    ...given({
      preNotice,
      reminders: reminders && { every: durationText(reminders.every), max: reminders.max },
      escalation: escalation && {
        after: durationText(escalation.after),
        ...given({ group: escalation.group, jump: escalation.jump }),
      },
    }),
    expiresAfter: durationText(expiresAfter),
  }
}

type Group = InputOf<typeof approvalGroupsApply>

/** An approval group, likewise. `idOf` gives what the server makes of a principal's name. */
export function approvalGroupText(
  { name, description, members }: Group,
  idOf = (principal: string) => principal,
): string {
  return stringify({
    kind: "ApprovalGroup",
    name,
    ...given({ description }),
    members: members.map((member) => ({
      ...given({
        principal: member.principal === undefined ? undefined : idOf(member.principal),
        name: member.name,
        mail: member.mail,
        channel: member.channel,
      }),
      weight: member.weight,
      veto: member.veto,
    })),
  })
}

/** An association, likewise. */
export function associationText(association: InputOf<typeof associationsApply>): string {
  const { name, description, template, groups, selector, bind } = association
  const { request, product, portfolio, project, action, topic, workflow, type, operation } = selector
  return stringify({
    kind: "Association",
    name,
    ...given({ description }),
    template,
    groups: Object.fromEntries(Object.entries(groups).toSorted(([a], [b]) => (a < b ? -1 : 1))),
    selector: given({ request, product, portfolio, project, action, topic, workflow, type, operation }),
    bind,
  })
}

function given(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
