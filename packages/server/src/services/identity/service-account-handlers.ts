import { identityLimits } from "@signalbox/contracts/identity/identity-limits"
import {
  serviceAccountsCreate,
  serviceAccountsDisable,
  serviceAccountsEnable,
  serviceAccountsGet,
  serviceAccountsList,
  serviceAccountsUpdate,
} from "@signalbox/contracts/identity/people"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import { decodeCursor } from "../../storage/cursor.ts"
import { principalsChanged, type IdentityContext } from "./identity-context.ts"
import { page } from "./page.ts"
import { checkGrantable, checkName, checkNotOutranked } from "./principal-model.ts"
import {
  countServiceAccounts,
  findServiceAccount,
  insertServiceAccount,
  listServiceAccounts,
  lockServiceAccount,
  updateServiceAccount,
  type ServiceAccountRow,
} from "./service-account-store.ts"

type ServiceAccount = OutputOf<typeof serviceAccountsGet>

export function serviceAccountHandlers(context: IdentityContext): Handler[] {
  return [
    onChange(serviceAccountsCreate, (input, ctx) => create(context, input, ctx)),
    onRead(serviceAccountsList, async (input, { sql, account }) => {
      const [after = ""] = input.cursor ? decodeCursor(input.cursor, 1) : []
      const rows = await listServiceAccounts(sql, account, { after: String(after), limit: input.limit + 1 })
      return page(rows, input.limit, { item: toServiceAccount, key: (row) => row.id })
    }),
    onRead(serviceAccountsGet, async ({ serviceAccount }, { sql, account }) => {
      const row = await findServiceAccount(sql, account, serviceAccount)
      if (!row) throw notFound(serviceAccount)
      return toServiceAccount(row)
    }),
    onChange(serviceAccountsUpdate, async ({ serviceAccount, displayName, roles, teams }, ctx) => {
      const row = await lockForChange(ctx, serviceAccount)
      if (roles) checkGrantable(ctx.caller.permissions, roles)
      const changed = {
        ...row,
        displayName: displayName ?? row.displayName,
        roles: roles ? [...new Set(roles)] : row.roles,
        teams: teams ? [...new Set(teams)] : row.teams,
      }
      return await save(context, ctx, { row: changed, type: "service-account.changed" })
    }),
    onChange(serviceAccountsDisable, async ({ serviceAccount }, ctx) => {
      const row = await lockForChange(ctx, serviceAccount)
      if (row.disabledAt !== null) return toServiceAccount(row)
      return await save(context, ctx, { row: { ...row, disabledAt: ctx.now }, type: "service-account.disabled" })
    }),
    onChange(serviceAccountsEnable, async ({ serviceAccount }, ctx) => {
      const row = await lockForChange(ctx, serviceAccount)
      if (row.disabledAt === null) return toServiceAccount(row)
      return await save(context, ctx, { row: { ...row, disabledAt: null }, type: "service-account.enabled" })
    }),
  ]
}

const notFound = (reference: string): AppError =>
  new AppError("identity.service-account-not-found", `there is no service account "${reference}" in this account`)

async function create(
  context: IdentityContext,
  input: InputOf<typeof serviceAccountsCreate>,
  ctx: ChangeContext,
): Promise<ServiceAccount> {
  const { name, roles, teams } = input
  checkName(name)
  checkGrantable(ctx.caller.permissions, roles)
  if ((await countServiceAccounts(ctx.tx, ctx.account)) >= identityLimits.serviceAccountsMax)
    throw new AppError(
      "identity.too-many",
      `an account has ${identityLimits.serviceAccountsMax} service accounts at most`,
    )
  const row = await insertServiceAccount(ctx.tx, ctx.account, {
    id: newId("serviceAccount", context.clock, context.random),
    name,
    displayName: input.displayName ?? name,
    roles: [...new Set(roles)],
    teams: [...new Set(teams)],
    createdBy: ctx.caller.principal,
  })
  if (!row) throw new AppError("identity.service-account-exists", `there is a service account "${name}" already`)
  emit(ctx, row, "service-account.created")
  await principalsChanged(context, ctx)
  return toServiceAccount(row)
}

async function lockForChange(ctx: ChangeContext, reference: string): Promise<ServiceAccountRow> {
  const row = await lockServiceAccount(ctx.tx, ctx.account, reference)
  if (!row) throw notFound(reference)
  checkNotOutranked(ctx.caller.permissions, row)
  return row
}

async function save(
  context: IdentityContext,
  ctx: ChangeContext,
  { row, type }: { readonly row: ServiceAccountRow; readonly type: string },
): Promise<ServiceAccount> {
  const saved = await updateServiceAccount(ctx.tx, ctx.account, row)
  emit(ctx, saved, type)
  await principalsChanged(context, ctx)
  return toServiceAccount(saved)
}

function emit(ctx: ChangeContext, { id, name, roles, teams, version }: ServiceAccountRow, type: string): void {
  ctx.emit({ aggregate: id, type, subject: id, version, data: { name, roles, teams } })
}

function toServiceAccount(row: ServiceAccountRow): ServiceAccount {
  const { id, name, displayName, roles, teams, version, createdBy } = row
  const disabled = row.disabledAt !== null
  return {
    ...{ id, name, displayName, roles, teams, disabled, version, createdBy },
    createdAt: toInstant(row.createdAt),
  }
}
