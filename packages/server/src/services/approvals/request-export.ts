/** An approval with all that proves it, for whoever checks it elsewhere. */
import { digestOfVotes } from "@signalbox/attestation/approval-bundle"
import { signedEnvelope, type ApprovalBundle, type SignedEnvelope } from "@signalbox/contracts/approvals/signed-votes"
import { AppError } from "@signalbox/kernel/app-error"
import type { ReadContext } from "../../router/handler.ts"
import type { ApprovalsContext } from "./options.ts"
import { listVotes, readContent, type RequestRow } from "./request-store.ts"
import { resultOf } from "./results.ts"
import { signResult } from "./signed-approval.ts"

/** @throws approvals.not-decided */
export async function exportRequest(
  context: ApprovalsContext,
  { sql }: Pick<ReadContext, "sql">,
  row: RequestRow,
): Promise<ApprovalBundle> {
  if (row.decidedAt === null) throw new AppError("approvals.not-decided", `${row.id} has no result yet`)
  const [content, rows] = await Promise.all([readContent(sql, row.id), listVotes(sql, row.id)])
  const votes = rows.flatMap(({ envelope, signature }) =>
    envelope === null
      ? []
      : [{ envelope: read(envelope), ...(signature === null ? {} : { signature: read(signature) }) }],
  )
  const said = { ...resultOf(context, row, rows), account: row.account, votesDigest: digestOfVotes(votes) }
  return { format: "signalbox-approval/1", content, votes, result: signResult(context.signingKey, said) }
}

const read = (text: string): SignedEnvelope => signedEnvelope.parse(JSON.parse(text))
