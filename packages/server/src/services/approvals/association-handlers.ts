import { findTie, indexAssociations, judgeSelector } from "@signalbox/approvals/match-association"
import { approvalLimits } from "@signalbox/contracts/approvals/approval-limits"
import {
  associationsApply,
  associationsGet,
  associationsList,
  associationsRemove,
} from "@signalbox/contracts/approvals/associations"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import type { Sql } from "../../storage/database.ts"
import {
  deleteAssociation,
  findAssociation,
  listAssociations,
  lockAssociation,
  putAssociation,
  readAssociations,
  selectorOf,
  type AssociationRow,
} from "./association-store.ts"
import { configurationChanged, lockConfiguration, nameAfter, pageOfRows } from "./configuration-change.ts"
import { toAssociation } from "./configuration-wire.ts"
import type { AssociationDefinition } from "./definitions.ts"
import type { ApprovalsContext } from "./options.ts"
import { refuseImpossible } from "./reachability.ts"
import { templateNotFound } from "./template-handlers.ts"
import { findTemplate } from "./template-store.ts"

export function associationHandlers(context: ApprovalsContext): Handler[] {
  return [
    onChange(associationsApply, (input, ctx) => applyAssociation(context, input, ctx)),
    onRead(associationsList, async ({ cursor, limit, template }, { sql, account }) => {
      const rows = await listAssociations(sql, account, { after: nameAfter(cursor), limit: limit + 1, template })
      return pageOfRows(rows, limit, { keyOf: ({ name }) => name, toItem: toAssociation })
    }),
    onRead(associationsGet, async ({ name }, { sql, account }) =>
      toAssociation(await getAssociation(sql, account, name)),
    ),
    onChange(associationsRemove, async ({ name }, ctx) => {
      await lockConfiguration(ctx.tx, ctx.account)
      const row = await getAssociation(ctx.tx, ctx.account, name)
      await deleteAssociation(ctx.tx, ctx.account, name)
      await configurationChanged(context, ctx, {
        row: { ...row, version: row.version + 1 },
        type: "association.removed",
      })
      return { name }
    }),
  ]
}

async function applyAssociation(
  context: ApprovalsContext,
  input: InputOf<typeof associationsApply>,
  ctx: ChangeContext,
) {
  const { account } = ctx
  const { name } = input
  const definition = definitionOf(input)
  await lockConfiguration(ctx.tx, account)
  const existing = await lockAssociation(ctx.tx, account, name)
  if (existing && isSame(existing, definition)) return { ...toAssociation(existing), changed: false }
  const others = (await readAssociations(ctx.tx, account)).filter((other) => other.name !== name)
  if (!existing && others.length >= approvalLimits.associationsMax)
    throw new AppError("approvals.too-many", `an account has ${approvalLimits.associationsMax} associations at most`)
  await refuseUnfit(ctx, name, definition)
  const selector = selectorOf(definition.selector)
  const index = indexAssociations(others.map((other) => ({ name: other.name, selector: selectorOf(other.selector) })))
  const tie = findTie(index, { name, selector })
  if (tie)
    throw new AppError(
      "approvals.association-tie",
      `"${name}" and "${tie.name}" could match the same request, and neither is more specific`,
      { details: { other: tie.name } },
    )
  await refuseImpossible(context, ctx, { associations: new Map([[name, definition]]) })
  const id = existing?.id ?? newId("association", context.clock, context.random)
  const changedBy = ctx.caller.principal
  const row = await putAssociation(ctx.tx, { ...definition, account, name, id, changedBy }, ctx.now)
  await configurationChanged(context, ctx, {
    row,
    type: existing ? "association.changed" : "association.created",
    data: { template: row.template, selector: row.selector },
  })
  return { ...toAssociation(row), changed: true }
}

function definitionOf(input: InputOf<typeof associationsApply>): AssociationDefinition {
  const { description, template, groups, selector, bind } = input
  return {
    description: description ?? null,
    template,
    groups,
    selector: JSON.parse(JSON.stringify(selector)) as typeof selector,
    bind,
  }
}

/** @throws approvals.template-not-found, approvals.invalid-association */
async function refuseUnfit(ctx: ChangeContext, name: string, definition: AssociationDefinition): Promise<void> {
  const template = await findTemplate(ctx.tx, ctx.account, definition.template)
  if (!template) throw templateNotFound(definition.template)
  const levels = new Set(template.definition.levels.map((level) => level.name))
  const issues = [
    ...judgeSelector(selectorOf(definition.selector)),
    ...Object.keys(definition.groups)
      .filter((level) => !levels.has(level))
      .map((level) => ({ path: `groups.${level}`, message: `the template "${template.name}" has no such level` })),
  ]
  if (issues.length === 0) return
  throw new AppError("approvals.invalid-association", `"${name}": ${issues[0]?.path}: ${issues[0]?.message}`, {
    issues,
  })
}

function isSame(row: AssociationRow, definition: AssociationDefinition): boolean {
  const { description, template, groups, selector, bind } = row
  return canonicalJson({ description, template, groups, selector, bind }) === canonicalJson(definition)
}

/** @throws approvals.association-not-found */
async function getAssociation(sql: Sql, account: string, name: string): Promise<AssociationRow> {
  const row = await findAssociation(sql, account, name)
  if (!row) throw new AppError("approvals.association-not-found", `there is no association "${name}" in this account`)
  return row
}
