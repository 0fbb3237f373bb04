import {
  approvalRequestsAbstain,
  approvalRequestsAnswer,
  approvalRequestsApprove,
  approvalRequestsAsk,
  approvalRequestsDelegate,
  approvalRequestsDeny,
} from "@signalbox/contracts/approvals/answers"
import type { Identity } from "@signalbox/approvals/template-rules"
import type { Input, VoteChoice } from "@signalbox/approvals/types"
import { onChange, type ChangeContext, type Handler } from "../../router/handler.ts"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { delegateOf } from "./delegation-handlers.ts"
import { checkMemberSignature, type SaidVote } from "./member-signature.ts"
import type { ApprovalsContext } from "./options.ts"
import { requesterOfCaller } from "./people.ts"
import { changeRequest, getLocked } from "./request-change.ts"
import { requestUrl, toRequest, type ApprovalRequest } from "./request-wire.ts"

/** Who answers is who calls: the machine decides whether that is a member, and says so if not. */
export function answerHandlers(context: ApprovalsContext): Handler[] {
  const vote =
    (choice: VoteChoice) =>
    (
      input: {
        readonly request: string
        readonly digest: string
        readonly level?: number | undefined
        readonly comment?: string | undefined
        readonly signature?: string | undefined
      },
      ctx: ChangeContext,
    ): Promise<ApprovalRequest> =>
      change(context, ctx, {
        request: input.request,
        signature: input.signature && { text: input.signature, said: { ...input, choice } },
        input: (actor, isSigned) => ({
          ...{ type: "vote", actor, choice, digest: input.digest, via: "api", isSigned },
          ...(input.level === undefined ? {} : { level: input.level }),
          ...(input.comment === undefined ? {} : { comment: input.comment }),
        }),
      })
  return [
    onChange(approvalRequestsApprove, vote("approve")),
    onChange(approvalRequestsDeny, vote("deny")),
    onChange(approvalRequestsAbstain, vote("abstain")),
    onChange(approvalRequestsAsk, ({ request, digest, level, question }, ctx) =>
      change(context, ctx, {
        request,
        input: (actor) => ({
          ...{ type: "ask", actor, digest, text: question },
          ...(level === undefined ? {} : { level }),
        }),
      }),
    ),
    onChange(approvalRequestsAnswer, ({ request, answer }, ctx) =>
      change(context, ctx, { request, input: (actor) => ({ type: "answer", actor, text: answer }) }),
    ),
    onChange(approvalRequestsDelegate, ({ request, to }, ctx) =>
      change(context, ctx, {
        request,
        input: (actor) => ({
          ...{ type: "delegate", actor },
          to: to === undefined ? null : delegateOf(context, ctx, to),
        }),
      }),
    ),
  ]
}

async function change(
  context: ApprovalsContext,
  ctx: ChangeContext,
  of: {
    readonly request: string
    readonly signature?: { readonly text: string; readonly said: Omit<SaidVote, "voter"> } | "" | undefined
    readonly input: (actor: Identity, isSigned: boolean) => Input
  },
): Promise<ApprovalRequest> {
  const row = await getLocked(ctx.tx, ctx.account, of.request)
  const { roles: _, ...actor } = requesterOfCaller(context.principals, ctx.caller, ctx.now)
  const { signature } = of
  const envelope =
    signature && (await checkMemberSignature(ctx, signature.text, { ...signature.said, voter: actor.key }))
  const signed = envelope ? { signature: canonicalJson(envelope) } : {}
  const changed = await changeRequest(context, ctx, { row, input: of.input(actor, envelope !== undefined), ...signed })
  return toRequest(changed, requestUrl(context.publicUrl, row.id))
}
