import {
  approvalRequestsCancel,
  approvalRequestsEdit,
  approvalRequestsExport,
  approvalRequestsGet,
  approvalRequestsInbox,
  approvalRequestsList,
  approvalRequestsMatch,
  approvalRequestsSubmit,
  approvalRequestsWait,
  inboxLimits,
} from "@signalbox/contracts/approvals/requests"
import { channelsGet } from "@signalbox/contracts/notifications/operations"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError, hasCode } from "@signalbox/kernel/app-error"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import { decodeCursor } from "../../storage/cursor.ts"
import type { Sql } from "../../storage/database.ts"
import { pageOfRows } from "./configuration-change.ts"
import { digestOfContent } from "./content.ts"
import { requesterOfCaller, requesterOfInput } from "./people.ts"
import type { ApprovalsContext } from "./options.ts"
import { exportRequest } from "./request-export.ts"
import { changeRequest, createRequest, getLocked, requestNotFound } from "./request-change.ts"
import { listRequests, listWaiting, type ListedRequest } from "./request-lists.ts"
import { findRequest, listVotes, readContent, saveEdit, type RequestRow } from "./request-store.ts"
import { requestUrl, toRequest, toRequestDetails, type ApprovalRequest } from "./request-wire.ts"
import { templateNotFound } from "./template-handlers.ts"

export function requestHandlers(context: ApprovalsContext): Handler[] {
  const shown = (row: RequestRow | ListedRequest): ApprovalRequest =>
    toRequest(row, requestUrl(context.publicUrl, row.id))
  return [
    onChange(approvalRequestsSubmit, (input, ctx) => submit(context, input, ctx), {
      prepare: (input, ctx) => refuseUnfitCallback(context, input, ctx),
    }),
    onRead(approvalRequestsList, async (input, { sql, account, caller }) => {
      const { limit, state, requester } = input
      const before = idBefore(input.cursor)
      const rows =
        input.mine === "true"
          ? await listWaiting(sql, account, { key: caller.principal, before, limit: limit + 1 })
          : await listRequests(sql, account, { state, requester, before, limit: limit + 1 })
      return pageOfRows(rows, limit, { keyOf: ({ id }) => id, toItem: shown })
    }),
    inboxHandler(shown),
    onRead(approvalRequestsGet, async ({ request }, { sql, account }) => {
      const row = await getRequest(sql, account, request)
      const [content, votes] = await Promise.all([readContent(sql, row.id), listVotes(sql, row.id)])
      return toRequestDetails(row, { url: requestUrl(context.publicUrl, row.id), content, votes })
    }),
    onRead(approvalRequestsExport, async ({ request }, ctx) =>
      exportRequest(context, ctx, await getRequest(ctx.sql, ctx.account, request)),
    ),
    onRead(approvalRequestsWait, async (input, ctx) =>
      shown(await waitFor(context, ctx, { ...input, read: () => getRequest(ctx.sql, ctx.account, input.request) })),
    ),
    onChange(approvalRequestsEdit, (input, ctx) => edit(context, input, ctx)),
    onChange(approvalRequestsCancel, async (input, ctx) => {
      const row = await getLocked(ctx.tx, ctx.account, input.request)
      const actor = requesterOfCaller(context.principals, ctx.caller, ctx.now)
      const asAdministrator = ctx.caller.permissions.has("approvals.write")
      const comment = input.comment === undefined ? {} : { comment: input.comment }
      return shown(
        await changeRequest(context, ctx, { row, input: { type: "cancel", actor, asAdministrator, ...comment } }),
      )
    }),
    onChange(approvalRequestsMatch, async (input, ctx) => {
      const row = await getLocked(ctx.tx, ctx.account, input.request)
      const { directory, principals } = context
      const template = directory.findTemplate(ctx.account, { name: input.template, groups: input.groups })
      if (!template) throw templateNotFound(input.template)
      const content = await readContent(ctx.tx, row.id)
      const { key, name } = requesterOfCaller(principals, ctx.caller, ctx.now)
      const by = name === undefined ? { key } : { key, name }
      return shown(await changeRequest(context, ctx, { row, input: { type: "match", template, content, by } }))
    }),
  ]
}

/** What a person has to look at: three short lists, each by an index of its own. */
function inboxHandler(shown: (row: ListedRequest) => ApprovalRequest): Handler {
  return onRead(approvalRequestsInbox, async ({ limit: shownMax, since }, { sql, account, caller }) => {
    const { principal: key } = caller
    const limit = inboxLimits.shownMax
    const from = since === undefined ? Number.POSITIVE_INFINITY : Date.parse(since)
    const [decide, questions, own] = await Promise.all([
      listWaiting(sql, account, { key, limit }),
      listRequests(sql, account, { state: "asking", requester: key, limit }),
      since === undefined ? [] : listRequests(sql, account, { requester: key, limit }),
    ])
    const ended = own.filter(({ decidedAt }) => decidedAt !== null && decidedAt >= from)
    const first = (rows: readonly ListedRequest[]): ApprovalRequest[] => rows.slice(0, shownMax).map(shown)
    return {
      ...{ decide: first(decide), questions: first(questions), ended: first(ended) },
      counts: { decide: decide.length, questions: questions.length, ended: ended.length },
    }
  })
}

async function submit(
  context: ApprovalsContext,
  input: InputOf<typeof approvalRequestsSubmit>,
  ctx: ChangeContext,
): Promise<ApprovalRequest> {
  const { account, now, cause, depth } = ctx
  const { type, title, content = null, unmatched } = input
  const id = newId("approvalRequest", context.clock, context.random)
  const submitter = requesterOfCaller(context.principals, ctx.caller, now)
  const requester = input.requester
    ? requesterOfInput(context.principals, account, { input: input.requester, now })
    : submitter
  const attributes = attributesOf(input)
  const template = context.directory.match(account, attributes)?.template ?? null
  const row = await createRequest(context, ctx, {
    ...{ id, account, type, title, content, unmatched, cause, depth },
    callback: input.callback ?? null,
    notBefore: input.notBefore === undefined ? null : Date.parse(input.notBefore),
    held: null,
    input: {
      type: "submit",
      digest: digestOfContent(content),
      ...{ content, attributes, requester, submitter, template, unmatched },
    },
  })
  return toRequest(row, requestUrl(context.publicUrl, id, pathFor(ctx)))
}

/** Backends that may not look at all requests are told where they see their own. */
function pathFor({ caller }: ChangeContext): "approval-requests" | "approval-results" {
  return caller.permissions.has("approvals.read") ? "approval-requests" : "approval-results"
}

/** What associations and criteria see: what was given, and the type. */
function attributesOf({ attributes, type }: InputOf<typeof approvalRequestsSubmit>) {
  const given = Object.entries(attributes).filter(([name, value]) => value !== undefined && !reserved.has(name))
  return { ...(Object.fromEntries(given) as Record<string, string | number | boolean>), type }
}

/** What only calls that this installation holds itself have. */
const reserved = new Set(["operation", "type"])

async function edit(
  context: ApprovalsContext,
  input: InputOf<typeof approvalRequestsEdit>,
  ctx: ChangeContext,
): Promise<ApprovalRequest> {
  const row = await getLocked(ctx.tx, ctx.account, input.request)
  if (row.held)
    throw new AppError(
      "approvals.held-operation",
      `${row.id} is about a call that is held or a step that waits, which can't be changed`,
    )
  const after = input.content ?? null
  const digest = digestOfContent(after)
  const { revision } = row.stateData
  if (revision !== input.revision)
    throw new AppError("approvals.edit-conflict", `${row.id} is at revision ${revision}, not ${input.revision}`, {
      details: { revision },
    })
  const before = await readContent(ctx.tx, row.id)
  const actor = requesterOfCaller(context.principals, ctx.caller, ctx.now)
  const changed = await changeRequest(context, ctx, { row, input: { type: "edit", actor, digest, before, after } })
  const title = input.title ?? row.title
  const notBefore = input.notBefore === undefined ? row.notBefore : Date.parse(input.notBefore)
  await saveEdit(ctx.tx, row.id, { title, content: after, notBefore })
  return toRequest({ ...changed, title, notBefore }, requestUrl(context.publicUrl, row.id, pathFor(ctx)))
}

/** @throws approvals.request-not-found */
export async function getRequest(sql: Sql, account: string, id: string): Promise<RequestRow> {
  const row = await findRequest(sql, account, id)
  if (!row) throw requestNotFound(id)
  return row
}

/** The request once it has ended or changed, or as it is when the time is over. */
export async function waitFor(
  context: ApprovalsContext,
  ctx: ReadContext,
  of: {
    readonly seconds: number
    readonly version?: number | undefined
    readonly read: () => Promise<RequestRow>
  },
): Promise<RequestRow> {
  const { seconds, version, read } = of
  const row = await read()
  if (row.decidedAt !== null || (version !== undefined && version !== row.version)) return row
  await context.waiters.wait(row.id, { version, milliseconds: seconds * 1000, signal: ctx.signal })
  return await read()
}

export function idBefore(cursor: string | undefined): string | undefined {
  const [before] = cursor === undefined ? [] : decodeCursor(cursor, 1)
  return before === undefined ? undefined : String(before)
}

/** @throws approvals.callback-refused */
async function refuseUnfitCallback(
  context: ApprovalsContext,
  { callback }: InputOf<typeof approvalRequestsSubmit>,
  { account, cause, depth }: ReadContext,
): Promise<void> {
  if (callback === undefined) return
  const as = { account, service: "approvals", roles: ["viewer"], cause, depth } as const
  try {
    const { via } = await context.operations.call(channelsGet, { name: callback }, as)
    if (via === "webhook") return
    throw new AppError("approvals.callback-refused", `the channel "${callback}" is a ${via} channel, no webhook`)
  } catch (error) {
    if (!hasCode(error, "notifications.channel-not-found")) throw error
    throw new AppError("approvals.callback-refused", `there is no notification channel "${callback}"`, {
      cause: error,
    })
  }
}
