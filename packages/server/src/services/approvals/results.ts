/**
 * Tells backends of results (A12): each request that has ended and names a callback becomes one delivery, whose dedupe
 * key is the request, so an event that is handled twice is told once. Sending, retrying and dead letters are the
 * notifications service's.
 */
import { deliveriesSend } from "@signalbox/contracts/notifications/sending"
import { toInstant } from "@signalbox/kernel/clock"
import type { Consumer } from "../../storage/dispatcher.ts"
import type { DeliveredEvent } from "../../storage/outbox.ts"
import type { ApprovalsContext } from "./options.ts"
import { findRequest, listVotes, type RequestRow, type VoteRow } from "./request-store.ts"
import { requestUrl, toPerson } from "./request-wire.ts"
import { signResult } from "./signed-approval.ts"

export const endEvents = [
  "approval-request.approved",
  "approval-request.denied",
  "approval-request.expired",
  "approval-request.cancelled",
] as const

/** The approvers that a result names; a request with more has them in its votes. */
const approversMax = 100

export function resultConsumer(context: ApprovalsContext): Consumer {
  return {
    name: "approvals.results",
    types: endEvents,
    eventsPerJobMax: 20,
    async handle(event, { database }) {
      const { account, subject } = event
      const row = await findRequest(database, account, subject)
      if (!row || row.callback === null || row.decidedAt === null) return
      const votes = await listVotes(database, row.id)
      const { cause, depth } = row
      await context.operations.call(
        deliveriesSend,
        {
          to: { channel: row.callback },
          dedupeKey: `approval-result:${row.id}`,
          event: {
            ...{ id: event.id, type: event.type, subject, subjectVersion: event.subjectVersion },
            time: toInstant(event.time),
            data: signedResult(context, resultOf(context, row, votes)),
          },
          message: messageOf(row, event),
        },
        { account, service: "approvals", roles: ["notifier"], cause, causedBy: event.id, depth: depth + 1 },
      )
    },
  }
}

/** With the same said once more as a signed statement, for those who keep it. */
function signedResult({ signingKey }: ApprovalsContext, result: Record<string, unknown>): Record<string, unknown> {
  return { ...result, envelope: signResult(signingKey, result) }
}

/** What the backend acts on. */
export function resultOf(
  context: ApprovalsContext,
  row: RequestRow,
  votes: readonly VoteRow[],
): Record<string, unknown> {
  const { stateData, notBefore, decidedAt } = row
  const { outcome, template, digest, revision, attributes, requester } = stateData
  const approvals = votes.filter(({ choice, number }) => choice === "approve" && counts(row, number))
  return {
    request: row.id,
    url: requestUrl(context.publicUrl, row.id, "approval-results"),
    ...{ type: row.type, title: row.title, state: stateData.state, digest, revision, attributes },
    result: outcome?.result,
    reason: outcome?.reason,
    requester: toPerson(requester),
    ...(outcome?.by === undefined ? {} : { by: toPerson(outcome.by) }),
    ...(outcome?.comment === undefined ? {} : { comment: outcome.comment }),
    ...(template === null ? {} : { template: { name: template.name, version: template.version } }),
    approvers: approvals.slice(0, approversMax).map(({ by, member, levelName, at }) => ({
      ...{ level: levelName, member: toPerson(member), by: toPerson(by) },
      at: toInstant(at),
    })),
    ...(notBefore === null ? {} : { notBefore: toInstant(notBefore) }),
    ...(decidedAt === null ? {} : { decidedAt: toInstant(decidedAt) }),
  }
}

function counts({ stateData }: RequestRow, number: number): boolean {
  return stateData.levels.some(({ seats }) =>
    seats.some(({ vote }) => vote?.number === number && vote.boundTo === stateData.digest),
  )
}

const lineLengthMax = 180

/** Channels of other kinds than webhooks are refused at submission; one that was changed since gets this. */
function messageOf(row: RequestRow, { type }: DeliveredEvent) {
  const title = `${row.title} ${type.replace("approval-request.", "was ")}`
  return { title: title.slice(0, lineLengthMax), facts: [["Request", row.id] as [string, string]] }
}
