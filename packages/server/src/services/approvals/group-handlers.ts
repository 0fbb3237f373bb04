import { approvalLimits } from "@signalbox/contracts/approvals/approval-limits"
import {
  approvalGroupsApply,
  approvalGroupsGet,
  approvalGroupsList,
  approvalGroupsRemove,
} from "@signalbox/contracts/approvals/groups"
import { channelsGet } from "@signalbox/contracts/notifications/operations"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError, hasCode, type Issue } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import type { Sql } from "../../storage/database.ts"
import { readAssociations } from "./association-store.ts"
import { configurationChanged, lockConfiguration, nameAfter, pageOfRows } from "./configuration-change.ts"
import { toGroup } from "./configuration-wire.ts"
import type { MemberDefinition } from "./definitions.ts"
import { deleteGroup, findGroup, listGroups, lockGroup, putGroup, readGroups, type GroupRow } from "./group-store.ts"
import type { ApprovalsContext } from "./options.ts"
import { refuseImpossible } from "./reachability.ts"
import { memberKey } from "./rules.ts"
import { readTemplates } from "./template-store.ts"

type Input = InputOf<typeof approvalGroupsApply>

const namesShownMax = 5

export function groupHandlers(context: ApprovalsContext): Handler[] {
  return [
    onChange(approvalGroupsApply, (input, ctx) => applyGroup(context, input, ctx), {
      prepare: (input, ctx) => refuseUnknownChannels(context, input, ctx),
    }),
    onRead(approvalGroupsList, async ({ cursor, limit }, { sql, account }) => {
      const rows = await listGroups(sql, account, { after: nameAfter(cursor), limit: limit + 1 })
      return pageOfRows(rows, limit, { keyOf: ({ name }) => name, toItem: toGroup })
    }),
    onRead(approvalGroupsGet, async ({ name }, { sql, account }) => toGroup(await getGroup(sql, account, name))),
    onChange(approvalGroupsRemove, async ({ name }, ctx) => {
      await lockConfiguration(ctx.tx, ctx.account)
      const row = await getGroup(ctx.tx, ctx.account, name)
      const users = await findUsers(ctx, name)
      if (users.length > 0) {
        const names = users.slice(0, namesShownMax).join(", ")
        throw new AppError("approvals.group-in-use", `the group "${name}" is named by ${names}`)
      }
      await deleteGroup(ctx.tx, ctx.account, name)
      const keys = row.members.map(memberKey)
      await configurationChanged(context, ctx, {
        row: { ...row, version: row.version + 1 },
        type: "approval-group.removed",
        data: { keys },
      })
      return { name }
    }),
  ]
}

async function applyGroup(context: ApprovalsContext, input: Input, ctx: ChangeContext) {
  const { account } = ctx
  const { name } = input
  const members = resolveMembers(context, input, ctx)
  const description = input.description ?? null
  await lockConfiguration(ctx.tx, account)
  const existing = await lockGroup(ctx.tx, account, name)
  if (existing && canonicalJson([existing.description, existing.members]) === canonicalJson([description, members]))
    return { ...toGroup(existing), changed: false }
  if (!existing && (await readGroups(ctx.tx, account)).length >= approvalLimits.groupsMax)
    throw new AppError("approvals.too-many", `an account has ${approvalLimits.groupsMax} approval groups at most`)
  await refuseImpossible(context, ctx, { groups: new Map([[name, members]]) })
  const id = existing?.id ?? newId("approvalGroup", context.clock, context.random)
  const changedBy = ctx.caller.principal
  const row = await putGroup(ctx.tx, { account, name, id, description, members, changedBy }, ctx.now)
  const before = existing?.members.map(memberKey) ?? []
  const after = members.map(memberKey)
  await configurationChanged(context, ctx, {
    row,
    type: existing ? "approval-group.changed" : "approval-group.created",
    // Who came and who went: what follows for requests under way is decided from this.
    data: { keys: [...before.filter((key) => !after.includes(key)), ...after.filter((key) => !before.includes(key))] },
  })
  return { ...toGroup(row), changed: true }
}

/** Members with principals by their ids. @throws approvals.invalid-group */
function resolveMembers(context: ApprovalsContext, input: Input, ctx: ChangeContext): MemberDefinition[] {
  const issues: Issue[] = []
  const seen = new Set<string>()
  const members = input.members.map((member, index) => {
    const path = `members.${index}`
    const { principal } = member
    const known =
      principal === undefined ? undefined : context.principals.describePrincipal(ctx.account, principal, ctx.now)
    if (principal !== undefined && known === undefined)
      issues.push({ path: `${path}.principal`, message: `there is no user, service account or key "${principal}"` })
    const resolved = known === undefined ? member : { ...member, principal: known.id }
    const key = memberKey(resolved)
    if (seen.has(key)) issues.push({ path, message: `${key} is a member already` })
    seen.add(key)
    return JSON.parse(JSON.stringify(resolved)) as MemberDefinition
  })
  if (issues.length === 0) return members
  throw new AppError("approvals.invalid-group", `the members of "${input.name}" are not right`, { issues })
}

/** @throws approvals.invalid-group */
async function refuseUnknownChannels(context: ApprovalsContext, input: Input, ctx: ReadContext): Promise<void> {
  const issues: Issue[] = []
  const { account, cause, depth } = ctx
  const names = new Set(input.members.flatMap(({ channel }) => (channel === undefined ? [] : [channel])))
  for (const name of names) {
    try {
      await context.operations.call(channelsGet, { name }, { ...asApprovals, account, cause, depth })
    } catch (error) {
      if (!hasCode(error, "notifications.channel-not-found")) throw error
      issues.push({ path: "members", message: `there is no notification channel "${name}"` })
    }
  }
  if (issues.length > 0)
    throw new AppError("approvals.invalid-group", `the members of "${input.name}" are not right`, { issues })
}

const asApprovals = { service: "approvals", roles: ["viewer"] } as const

/** What names a group: templates and associations. */
async function findUsers(ctx: ChangeContext, name: string): Promise<string[]> {
  const templates = await readTemplates(ctx.tx, ctx.account)
  const associations = await readAssociations(ctx.tx, ctx.account)
  return [
    ...templates
      .filter(({ definition }) =>
        definition.levels.some(({ group, escalation }) => group === name || escalation?.group === name),
      )
      .map((template) => `the template "${template.name}"`),
    ...associations
      .filter(({ groups }) => Object.values(groups).includes(name))
      .map((association) => `the association "${association.name}"`),
  ]
}

/** @throws approvals.group-not-found */
async function getGroup(sql: Sql, account: string, name: string): Promise<GroupRow> {
  const row = await findGroup(sql, account, name)
  if (!row) throw new AppError("approvals.group-not-found", `there is no approval group "${name}" in this account`)
  return row
}
