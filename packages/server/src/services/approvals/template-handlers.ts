import {
  templatesApply,
  templatesGet,
  templatesList,
  templatesRemove,
  templatesVersions,
} from "@signalbox/contracts/approvals/templates"
import { approvalLimits } from "@signalbox/contracts/approvals/approval-limits"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { toInstant } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Sql } from "../../storage/database.ts"
import { listAssociations } from "./association-store.ts"
import { configurationChanged, lockConfiguration, nameAfter, pageOfRows } from "./configuration-change.ts"
import { toTemplate } from "./configuration-wire.ts"
import type { ApprovalsContext } from "./options.ts"
import { refuseImpossible } from "./reachability.ts"
import { normalizeTemplate } from "./rules.ts"
import {
  countTemplates,
  findTemplate,
  listTemplates,
  listTemplateVersions,
  lockTemplate,
  putTemplate,
  removeTemplate,
  type TemplateRow,
} from "./template-store.ts"

const namesShownMax = 5

export function templateHandlers(context: ApprovalsContext): Handler[] {
  return [
    onChange(templatesApply, (input, ctx) => applyTemplate(context, input, ctx)),
    onRead(templatesList, async ({ cursor, limit }, { sql, account }) => {
      const rows = await listTemplates(sql, account, { after: nameAfter(cursor), limit: limit + 1 })
      return pageOfRows(rows, limit, { keyOf: ({ name }) => name, toItem: toTemplate })
    }),
    onRead(templatesGet, async ({ name, version }, { sql, account }) => {
      const row = await getTemplate(sql, account, name)
      if (version === undefined || version === row.version) return toTemplate(row)
      const [found] = await listTemplateVersions(sql, account, { name, before: version + 1, limit: 1 })
      if (found?.version !== version) throw templateNotFound(name, version)
      return toTemplate({ ...row, ...found })
    }),
    onRead(templatesVersions, async ({ name, cursor, limit }, { sql, account }) => {
      await getTemplate(sql, account, name)
      const [before = Number.MAX_SAFE_INTEGER] = cursor === undefined ? [] : decodeCursor(cursor, 1)
      const rows = await listTemplateVersions(sql, account, { name, before: Number(before), limit: limit + 1 })
      const shown = rows.slice(0, limit)
      const last = shown.at(-1)
      return {
        items: shown.map(({ version, changedAt, changedBy }) => ({
          version,
          changedAt: toInstant(changedAt),
          changedBy,
        })),
        ...(rows.length > limit && last ? { nextCursor: encodeCursor([last.version]) } : {}),
      }
    }),
    onChange(templatesRemove, async ({ name }, ctx) => {
      await lockConfiguration(ctx.tx, ctx.account)
      const row = await getTemplate(ctx.tx, ctx.account, name)
      const users = await listAssociations(ctx.tx, ctx.account, { after: "", limit: namesShownMax, template: name })
      if (users.length > 0) {
        const names = users.map((user) => user.name).join(", ")
        throw new AppError("approvals.template-in-use", `these associations use the template "${name}": ${names}`)
      }
      const version = await removeTemplate(ctx.tx, row, { by: ctx.caller.principal, now: ctx.now })
      await configurationChanged(context, ctx, { row: { ...row, version }, type: "approval-template.removed" })
      return { name }
    }),
  ]
}

async function applyTemplate(context: ApprovalsContext, input: InputOf<typeof templatesApply>, ctx: ChangeContext) {
  const { name, ...rest } = input
  const definition = normalizeTemplate(rest)
  const { account } = ctx
  await lockConfiguration(ctx.tx, account)
  const existing = await lockTemplate(ctx.tx, account, name)
  if (existing && !existing.removed && canonicalJson(existing.definition) === canonicalJson(definition))
    return { ...toTemplate(existing), changed: false, warnings: [] }
  if ((existing?.removed ?? true) && (await countTemplates(ctx.tx, account)) >= approvalLimits.templatesMax)
    throw new AppError("approvals.too-many", `an account has ${approvalLimits.templatesMax} templates at most`)
  const found = await refuseImpossible(context, ctx, { templates: new Map([[name, definition]]) })
  const id = existing?.id ?? newId("approvalTemplate", context.clock, context.random)
  const row = await putTemplate(ctx.tx, { account, name, id, definition, changedBy: ctx.caller.principal }, ctx.now)
  const type = existing ? "approval-template.changed" : "approval-template.created"
  await configurationChanged(context, ctx, { row, type, data: { templateVersion: row.version } })
  const warnings = found.map(({ path, message }) => ({ path, message }))
  return { ...toTemplate(row), changed: true, warnings }
}

/** @throws approvals.template-not-found */
async function getTemplate(sql: Sql, account: string, name: string): Promise<TemplateRow> {
  const row = await findTemplate(sql, account, name)
  if (!row) throw templateNotFound(name)
  return row
}

export function templateNotFound(name: string, version?: number): AppError {
  const which = version === undefined ? "" : `version ${version} of `
  return new AppError("approvals.template-not-found", `there is no ${which}template "${name}" in this account`)
}
