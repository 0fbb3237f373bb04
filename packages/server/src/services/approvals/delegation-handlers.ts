import type { Identity } from "@signalbox/approvals/template-rules"
import { approvalLimits } from "@signalbox/contracts/approvals/approval-limits"
import { delegationsCreate, delegationsList, delegationsRemove } from "@signalbox/contracts/approvals/delegations"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import { configurationChanged, nameAfter, pageOfRows } from "./configuration-change.ts"
import { toDelegation } from "./configuration-wire.ts"
import type { PersonRef } from "./definitions.ts"
import {
  countDelegations,
  endDelegation,
  insertDelegation,
  listDelegations,
  lockDelegation,
  type DelegationRow,
} from "./delegation-store.ts"
import type { ApprovalsContext } from "./options.ts"
import { findPerson, identityOf, personOf } from "./people.ts"

export function delegationHandlers(context: ApprovalsContext): Handler[] {
  return [
    onChange(delegationsCreate, (input, ctx) => create(context, input, ctx)),
    onRead(delegationsList, async ({ cursor, limit, mine }, { sql, account, caller, now }) => {
      const member = mine === "true" ? caller.principal : undefined
      const rows = await listDelegations(sql, account, { after: nameAfter(cursor), limit: limit + 1, now, member })
      return pageOfRows(rows, limit, { keyOf: ({ id }) => id, toItem: toDelegation })
    }),
    onChange(delegationsRemove, async ({ delegation }, ctx) => {
      const row = await lockDelegation(ctx.tx, ctx.account, delegation)
      if (!row || !isOwnOrAdministered(ctx, row.member.key)) throw delegationNotFound(delegation)
      if (row.endedAt !== null) return toDelegation(row)
      const ended = await endDelegation(ctx.tx, row, ctx.now)
      await changed(context, ctx, { row: ended, type: "delegation.ended" })
      return toDelegation(ended)
    }),
  ]
}

async function create(context: ApprovalsContext, input: InputOf<typeof delegationsCreate>, ctx: ChangeContext) {
  const { account, now } = ctx
  const member = memberOf(context, input.member, ctx)
  const delegate = input.to === undefined ? null : personOf(delegateOf(context, ctx, input.to))
  if (delegate?.key === member.key)
    throw new AppError("approvals.delegate-refused", `${member.key} can't stand in for ${member.key}`)
  const fromAt = input.from === undefined ? now : Date.parse(input.from)
  const untilAt = Date.parse(input.until)
  if (untilAt <= fromAt || untilAt <= now)
    throw new AppError("approvals.invalid-delegation", "the time ends before it begins, or is over already")
  if ((await countDelegations(ctx.tx, account)) >= approvalLimits.delegationsMax)
    throw new AppError("approvals.too-many", `an account has ${approvalLimits.delegationsMax} delegations at most`)
  const row = await insertDelegation(ctx.tx, {
    ...{ account, member, delegate, fromAt, untilAt, note: input.note ?? null },
    id: newId("delegation", context.clock, context.random),
    createdAt: now,
    createdBy: ctx.caller.principal,
  })
  await changed(context, ctx, { row, type: "delegation.created" })
  return toDelegation(row)
}

/** For whom: the caller, or, where an administrator says so, somebody else. @throws approvals.delegate-refused */
function memberOf(context: ApprovalsContext, given: string | undefined, ctx: ChangeContext): PersonRef {
  const { account, now, caller } = ctx
  const reference = given ?? caller.principal
  const known = context.principals.describePrincipal(account, reference, now)
  const key = known?.id ?? reference
  if (!isOwnOrAdministered(ctx, key))
    throw new AppError("approvals.delegate-refused", "only an administrator says who stands in for somebody else")
  return { key, ...(known === undefined ? {} : { name: known.displayName }) }
}

function isOwnOrAdministered({ caller }: ChangeContext, key: string): boolean {
  return caller.principal === key || caller.permissions.has("approvals.write")
}

/** Whoever stands in has to be able to log in. @throws approvals.delegate-refused */
export function delegateOf(context: ApprovalsContext, ctx: ChangeContext, reference: string): Identity {
  const known = findPerson(context.principals, ctx.account, { reference, now: ctx.now })
  if (!known)
    throw new AppError(
      "approvals.delegate-refused",
      `there is no user, service account or key "${reference}" that can log in`,
    )
  return identityOf(known)
}

async function changed(
  context: ApprovalsContext,
  ctx: ChangeContext,
  change: { readonly row: DelegationRow; readonly type: string },
): Promise<void> {
  const { row, type } = change
  const data = { member: row.member, to: row.delegate, keys: [row.member.key] }
  await configurationChanged(context, ctx, { row: { id: row.id, version: row.version }, type, data })
}

const delegationNotFound = (id: string): AppError =>
  new AppError("approvals.delegation-not-found", `there is no delegation "${id}" that you could end`)
