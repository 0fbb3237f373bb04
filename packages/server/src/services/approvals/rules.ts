/** What administrators wrote, as the machine understands it: durations in milliseconds, keys instead of contacts. Pure. */
import type { EscalationRule, LevelRule, MemberRule, TemplateRule } from "@signalbox/approvals/template-rules"
import { getDuration, toIsoDuration } from "@signalbox/kernel/duration"
import type { LevelDefinition, MemberDefinition, TemplateDefinition } from "./definitions.ts"

/** Durations written one way, members that are undefined left out: equal templates have equal texts. */
export function normalizeTemplate(definition: TemplateDefinition): TemplateDefinition {
  const levels = definition.levels.map((level) => ({
    ...level,
    expiresAfter: isoOf(level.expiresAfter),
    ...(level.reminders ? { reminders: { ...level.reminders, every: isoOf(level.reminders.every) } } : {}),
    ...(level.escalation ? { escalation: { ...level.escalation, after: isoOf(level.escalation.after) } } : {}),
  }))
  return withoutUndefined({ ...definition, levels })
}

const isoOf = (text: string): string => toIsoDuration(getDuration(text))

/** As it comes back from the database. */
function withoutUndefined<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T
}

export function templateRuleOf(definition: TemplateDefinition): TemplateRule {
  const { levels, approveWhen, denyWhen, onExpiry, keepVotesWhen } = definition
  return {
    levels: levels.map(levelRuleOf),
    onExpiry,
    ...(approveWhen === undefined ? {} : { approveWhen }),
    ...(denyWhen === undefined ? {} : { denyWhen }),
    ...(keepVotesWhen === undefined ? {} : { keepVotesWhen }),
  }
}

function levelRuleOf(level: LevelDefinition): LevelRule {
  const { name, group, strategy, reject, veto, selfApproval, sameTeam, abstention, preNotice, signedVotes } = level
  const { reminders, escalation, expiresAfter } = level
  return {
    ...{ name, group, strategy, veto, selfApproval, sameTeam, abstention },
    ...(signedVotes === "required" ? { signedVotes } : {}),
    expiresAfterMilliseconds: getDuration(expiresAfter),
    ...(reject === undefined ? {} : { reject }),
    ...(preNotice === undefined ? {} : { preNotice }),
    ...(reminders === undefined
      ? {}
      : { reminders: { everyMilliseconds: getDuration(reminders.every), max: reminders.max } }),
    ...(escalation === undefined ? {} : { escalation: escalationRuleOf(escalation) }),
  }
}

function escalationRuleOf({ after, group, jump }: NonNullable<LevelDefinition["escalation"]>): EscalationRule {
  return {
    afterMilliseconds: getDuration(after),
    ...(group === undefined ? {} : { group }),
    ...(jump === undefined ? {} : { jump }),
  }
}

export const mailKey = (address: string): string => `mailto:${address.toLowerCase()}`

/** The key under which a member's seat is known: the principal where there is one, else the address, else the channel. */
export function memberKey({ principal, mail, channel }: MemberDefinition): string {
  if (principal !== undefined) return principal
  return mail === undefined ? `channel:${channel ?? ""}` : mailKey(mail)
}

/** What is known of a principal now. */
export interface KnownPerson {
  readonly id: string
  readonly name: string
  readonly mail?: string
  readonly teams: readonly string[]
  readonly roles: readonly string[]
}

/** A member with what is known of the principal; undefined where the principal can't log in any more. */
export function memberRuleOf(member: MemberDefinition, known: KnownPerson | undefined): MemberRule {
  const key = memberKey(member)
  const name = member.name ?? known?.name
  const addresses = [member.mail, known?.mail].filter((address) => address !== undefined)
  return {
    key,
    keys: [...new Set([key, ...addresses.map(mailKey)])],
    teams: known?.teams ?? [],
    weight: member.weight,
    veto: member.veto,
    disabled: member.principal !== undefined && known === undefined,
    ...(name === undefined ? {} : { name }),
  }
}
