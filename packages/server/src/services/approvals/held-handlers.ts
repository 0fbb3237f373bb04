/** Calls that wait for approval: how they are kept, shown, awaited and edited. */
import {
  heldOperationsEdit,
  heldOperationsGet,
  heldOperationsKeep,
  heldOperationsWait,
  heldOperationsWithdraw,
} from "@signalbox/contracts/approvals/held-operations"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import type { PinnedTemplate } from "@signalbox/approvals/template-rules"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import type { ErrorCode } from "@signalbox/kernel/error-catalogue"
import { newId } from "@signalbox/kernel/id"
import {
  onChange,
  onRead,
  type CallContext,
  type Caller,
  type ChangeContext,
  type Handler,
} from "../../router/handler.ts"
import type { CallPlanner, Sealer } from "../../router/ports.ts"
import { standingKindOf } from "../../router/standing-kind.ts"
import type { Sql } from "../../storage/database.ts"
import { heldInputUse } from "./held-gate.ts"
import { hasHeldEnded, toHeldOperation } from "./held-model.ts"
import { addVersion, findHeld, insertHeld, replaceHeldInput, withdrawHeld, type HeldRow } from "./held-store.ts"
import type { ApprovalsContext } from "./options.ts"
import { requesterOfCaller } from "./people.ts"
import { changeRequest, createRequest, getLocked, requestNotFound } from "./request-change.ts"
import { digestOfContent } from "./content.ts"
import { readContent, saveEdit, type HeldSubject } from "./request-store.ts"
import { requestUrl } from "./request-wire.ts"

export interface HeldContext extends ApprovalsContext {
  readonly planner: CallPlanner
  readonly sealer: Sealer
}

type Planned = Awaited<ReturnType<CallPlanner["planCall"]>>

export function heldHandlers(context: HeldContext): Handler[] {
  // What `prepare` found out, for the transaction of the same call.
  const planned = new WeakMap<InputOf<typeof heldOperationsEdit>, Planned>()
  return [
    onChange(heldOperationsKeep, (input, ctx) => keep(context, input, ctx)),
    onRead(heldOperationsGet, async ({ request }, ctx) =>
      toHeldOperation(await getHeld(ctx.sql, ctx.caller, request), context.publicUrl),
    ),
    onRead(heldOperationsWait, async ({ request, seconds }, ctx) => {
      const row = await waitForEnd(context, { request, seconds }, ctx)
      return toHeldOperation(row, context.publicUrl)
    }),
    onChange(
      heldOperationsEdit,
      async (input, ctx) => {
        const plan = planned.get(input)
        assert(plan, "held-operations.edit is prepared before its transaction")
        return edit(context, ctx, { input, plan })
      },
      {
        prepare: async (input, ctx) => {
          const held = await getHeld(ctx.sql, ctx.caller, input.request)
          checkIsCaller(held, ctx.caller)
          const { caller, cause, requestId, depth } = ctx
          const call = { operation: held.operation, input: input.newInput, caller, cause, causedBy: requestId, depth }
          const plan = await context.planner.planCall(call)
          checkTemplates(held, plan)
          planned.set(input, plan)
        },
      },
    ),
    onChange(heldOperationsWithdraw, (input, ctx) => withdraw(context, input, ctx)),
  ]
}

/** Withdrawn in the name of whoever made the call: of the rule that is gone. */
async function withdraw(
  context: HeldContext,
  { request, reason }: InputOf<typeof heldOperationsWithdraw>,
  ctx: ChangeContext,
): Promise<OutputOf<typeof heldOperationsWithdraw>> {
  const { account, tx, now } = ctx
  const row = await getLocked(tx, account, request)
  const held = await findHeld(tx, account, request)
  if (!held) throw requestNotFound(request)
  if (row.decidedAt === null) {
    const actor = { key: held.principal, keys: [held.principal], teams: [] }
    await changeRequest(context, ctx, { row, input: { type: "cancel", actor, asAdministrator: true, comment: reason } })
    return { request, withdrawn: true }
  }
  const error = { code: withdrawnCode, message: reason }
  const withdrawn = row.state === "approved" && (await withdrawHeld(tx, held, { error, now }))
  if (withdrawn) {
    const version = await addVersion(tx, held)
    const data = { operation: held.operation, digest: held.digest, held: true, ...error }
    ctx.emit({ aggregate: request, type: "approval-request.run-failed", subject: request, version, data })
    ctx.afterCommit(() => context.waiters.changed(request))
  }
  return { request, withdrawn }
}

const withdrawnCode: ErrorCode = "actions.rule-removed"

type Kept = InputOf<typeof heldOperationsKeep>

async function keep(
  context: HeldContext,
  input: Kept,
  ctx: ChangeContext,
): Promise<{ request: string; requestUrl: string }> {
  const { account, now } = ctx
  const { operation, attributes, content, title } = input
  const id = newId("approvalRequest", context.clock, context.random)
  const asked = callerOf(input, account)
  const requester = requesterOfCaller(context.principals, asked, now)
  // Where what held it went in this moment, nothing does any more.
  const template = templateOf(context, input, account)
  await createRequest(context, ctx, {
    ...{ id, account, type: "operation", title, content, callback: null, unmatched: "approve" },
    ...{ notBefore: input.notBefore ?? null, held: heldSubject(input), cause: ctx.cause, depth: ctx.depth },
    input: {
      type: "submit",
      ...{ digest: digestOfContent(content), content, attributes, requester, submitter: requester, template },
      unmatched: "approve",
    },
  })
  await insertHeld(ctx.tx, {
    ...{ requestId: id, account, operation, sealed: input.sealed, principal: input.principal, roles: input.roles },
    ...{
      author: input.author ?? null,
      nodes: input.nodes ?? null,
      idempotencyKey: input.key,
      bodyHash: input.bodyHash,
      createdAt: now,
    },
    ...{ notBefore: input.notBefore ?? null, window: input.window ?? null, breakGlass: input.breakGlass ?? null },
    calendars: input.freezes.map(({ calendar }) => calendar),
  })
  return { request: id, requestUrl: requestUrl(context.publicUrl, id) }
}

function heldSubject({ operation, rules }: Kept): HeldSubject & { readonly operation: string } {
  const asking = rules.map(({ reason, ...rule }) => ({ ...rule, ...(reason === undefined ? {} : { reason }) }))
  return { operation, ...(asking.length > 0 && { rules: asking }) }
}

/**
 * The regular approvers first, then those whom rules want, then those of each closed calendar. Where several have to say
 * yes nothing approves itself: the criteria of one template can't speak for the others.
 */
function templateOf({ directory }: HeldContext, kept: Kept, account: string): PinnedTemplate | null {
  const { attributes, freezes, templates } = kept
  const regular = directory.match(account, attributes)?.template
  const find = (name: string) => directory.findTemplate(account, { name, groups: {} }) ?? []
  const ruled = templates.filter((name) => name !== regular?.name).flatMap(find)
  const names = new Set(freezes.flatMap(({ template }) => (template === null ? [] : [template])))
  const frozen = [...names].flatMap(find)
  const parts = [
    ...(regular ? [{ template: regular, prefix: "" }] : []),
    ...ruled.map((template) => ({ template, prefix: `${template.name}-` })),
    ...frozen.map((template) => ({ template, prefix: "freeze-" })),
  ]
  const [first, ...others] = parts.map(({ template }) => template)
  if (!first || (others.length === 0 && frozen.length === 0)) return first ?? null
  const { approveWhen: _, ...rule } = first.rule
  const levels = parts.flatMap(({ template, prefix }) =>
    template.rule.levels.map((level) => ({ ...level, name: `${prefix}${level.name}` })),
  )
  return {
    name: [first, ...others].map(({ name }) => name).join("+"),
    version: first.version,
    rule: { ...rule, levels },
  }
}

/** Who made the call that is kept. */
function callerOf({ principal, author, roles }: Kept, account: string): Caller {
  const kind = author === undefined ? "key" : standingKindOf(principal)
  return { account, principal, kind, roles, permissions: new Set(), ...(author === undefined ? {} : { author }) }
}

/** The call's own principal may, and whoever may read requests. @throws approvals.request-not-found */
async function getHeld(sql: Sql, caller: Caller, request: string): Promise<HeldRow> {
  const held = await findHeld(sql, caller.account, request)
  if (!held || (held.principal !== caller.principal && !caller.permissions.has("approvals.read")))
    throw requestNotFound(request)
  return held
}

function checkIsCaller({ principal, requestId }: HeldRow, caller: Caller): void {
  if (principal !== caller.principal)
    throw new AppError("approvals.not-the-requester", `only ${principal}, who made the call, may edit ${requestId}`)
}

/** An edit can't evade those whom a rule wants to be asked: they are chosen when the call is held. */
function checkTemplates({ requestId, template }: HeldRow, { templates }: Planned): void {
  const asked = template?.split("+") ?? []
  const missing = templates.find((name) => !asked.includes(name))
  if (missing === undefined) return
  throw new AppError(
    "approvals.edit-conflict",
    `a rule wants "${missing}" to approve this, whom ${requestId} does not ask: submit the call anew`,
    { details: { template: missing } },
  )
}

async function waitForEnd(
  { waiters, clock }: HeldContext,
  { request, seconds }: InputOf<typeof heldOperationsWait>,
  { sql, caller, signal }: CallContext & { readonly sql: Sql },
): Promise<HeldRow> {
  const until = clock.now() + seconds * 1000
  for (;;) {
    const held = await getHeld(sql, caller, request)
    const milliseconds = until - clock.now()
    if (hasHeldEnded(held) || milliseconds <= 0 || signal.aborted) return held
    await waiters.wait(request, { version: held.requestVersion, milliseconds, signal, isAlsoAfterEnd: true })
  }
}

async function edit(
  context: HeldContext,
  ctx: ChangeContext,
  { input, plan }: { readonly input: InputOf<typeof heldOperationsEdit>; readonly plan: Planned },
): Promise<ReturnType<typeof toHeldOperation>> {
  const { account, tx, now } = ctx
  const row = await getLocked(tx, account, input.request)
  if (row.stateData.revision !== input.revision)
    throw new AppError("approvals.edit-conflict", `${row.id} is at revision ${row.stateData.revision} by now`)
  const { content, title, attributes, bodyHash } = plan
  await changeRequest(context, ctx, {
    row,
    input: {
      type: "edit",
      actor: requesterOfCaller(context.principals, ctx.caller, now),
      digest: digestOfContent(content),
      before: await readContent(tx, row.id),
      after: content,
      attributes,
    },
  })
  await saveEdit(tx, row.id, { title, content, notBefore: row.notBefore })
  const sealed = context.sealer.seal({ account, use: heldInputUse, id: bodyHash }, canonicalJson(plan.input))
  const isReplaced = await replaceHeldInput(tx, { account, requestId: row.id, sealed, bodyHash })
  assert(isReplaced, "the input of a request that can be edited still waits")
  const held = await findHeld(tx, account, row.id)
  assert(held, "what a transaction changed it can read")
  return toHeldOperation(held, context.publicUrl)
}
