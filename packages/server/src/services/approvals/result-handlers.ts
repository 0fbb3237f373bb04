/** What backends see: their own requests alone. Anybody else's is not there. */
import { approvalResultsGet, approvalResultsList, approvalResultsWait } from "@signalbox/contracts/approvals/results"
import { onRead, type Handler, type ReadContext } from "../../router/handler.ts"
import { pageOfRows } from "./configuration-change.ts"
import type { ApprovalsContext } from "./options.ts"
import { requestNotFound } from "./request-change.ts"
import { idBefore, waitFor } from "./request-handlers.ts"
import { listRequests, type ListedRequest } from "./request-lists.ts"
import { findRequest, type RequestRow } from "./request-store.ts"
import { requestUrl, toRequest, type ApprovalRequest } from "./request-wire.ts"

export function resultHandlers(context: ApprovalsContext): Handler[] {
  const shown = (row: RequestRow | ListedRequest): ApprovalRequest =>
    toRequest(row, requestUrl(context.publicUrl, row.id, "approval-results"))
  return [
    onRead(approvalResultsList, async ({ cursor, limit, state }, { sql, account, caller }) => {
      const filter = { state, submitter: caller.principal, before: idBefore(cursor), limit: limit + 1 }
      return pageOfRows(await listRequests(sql, account, filter), limit, { keyOf: ({ id }) => id, toItem: shown })
    }),
    onRead(approvalResultsGet, async ({ request }, ctx) => shown(await getOwn(ctx, request))),
    onRead(approvalResultsWait, async (input, ctx) =>
      shown(await waitFor(context, ctx, { ...input, read: () => getOwn(ctx, input.request) })),
    ),
  ]
}

/** @throws approvals.request-not-found */
async function getOwn({ sql, account, caller }: ReadContext, id: string): Promise<RequestRow> {
  const row = await findRequest(sql, account, id)
  if (row?.submitter !== caller.principal) throw requestNotFound(id)
  return row
}
