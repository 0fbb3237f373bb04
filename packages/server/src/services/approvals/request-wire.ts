/** Requests as the operations give them. Pure. */
import type { approvalRequestsGet, approvalRequestsSubmit } from "@signalbox/contracts/approvals/requests"
import type { OutputOf } from "@signalbox/contracts/operation"
import type { LevelRule, Person, VotingStrategy } from "@signalbox/approvals/template-rules"
import type { LevelState, Question, RequestState, Seat } from "@signalbox/approvals/types"
import { assert } from "@signalbox/kernel/assert"
import { toInstant } from "@signalbox/kernel/clock"
import type { AskingRule } from "../../router/gate-ports.ts"
import type { ListedRequest } from "./request-lists.ts"
import type { RequestRow, VoteRow } from "./request-store.ts"
import { shownStateOf, type ShownState } from "./shown-state.ts"

export type ApprovalRequest = OutputOf<typeof approvalRequestsSubmit>
export type ApprovalRequestDetails = OutputOf<typeof approvalRequestsGet>

/** Under which path somebody reads a request: those who answer, or the backend that asked. */
export type RequestPath = "approval-requests" | "approval-results"

export function requestUrl(publicUrl: string, id: string, path: RequestPath = "approval-requests"): string {
  return `${publicUrl}/v1/${path}/${id}`
}

export function toRequest(row: RequestRow | ListedRequest, url: string): ApprovalRequest {
  const state = "shown" in row ? row.shown : shownStateOf(row.stateData)
  const { template, outcome } = state
  const expiresAt = expiryOf(state)
  return {
    id: row.id,
    url,
    state: state.state,
    type: row.type,
    title: row.title,
    attributes: { ...state.attributes },
    requester: toPerson(state.requester),
    ...(row.held?.rules === undefined ? {} : { rules: [...row.held.rules] }),
    revision: state.revision,
    digest: state.digest,
    ...(template === null ? {} : { template: { name: template.name, version: template.version } }),
    ...levelOf(state),
    ...(row.notBefore === null ? {} : { notBefore: toInstant(row.notBefore) }),
    ...(expiresAt === null ? {} : { expiresAt: toInstant(expiresAt) }),
    ...questionOf(state),
    ...(outcome === null
      ? {}
      : {
          outcome: {
            result: outcome.result,
            reason: outcome.reason,
            ...(outcome.by === undefined ? {} : { by: toPerson(outcome.by) }),
            ...(outcome.comment === undefined ? {} : { comment: outcome.comment }),
          },
        }),
    ...(row.callback === null ? {} : { callback: row.callback }),
    version: row.version,
    cause: row.cause,
    submittedAt: toInstant(row.submittedAt),
    ...(row.decidedAt === null ? {} : { decidedAt: toInstant(row.decidedAt) }),
  }
}

export function toRequestDetails(
  row: RequestRow,
  parts: { readonly url: string; readonly content: unknown; readonly votes: readonly VoteRow[] },
): ApprovalRequestDetails {
  const state = row.stateData
  const rules = state.template?.rule.levels ?? []
  return {
    ...toRequest(row, parts.url),
    content: parts.content,
    levels: rules.map((rule, index) => toLevel(rule, { number: index + 1, level: state.levels[index] })),
    votes: parts.votes.map((vote) => toVote(state, vote)),
    questions: state.questions.map(toQuestion),
  }
}

/** Whoever was given by a backend may have a key only; of identities no more than this is told. */
export function toPerson({ key, name }: Person): { key: string; name?: string } {
  return { key, ...(name === undefined ? {} : { name }) }
}

function levelOf({ state, level, template, levelRule }: ShownState): Pick<ApprovalRequest, "level"> {
  if (!template || !levelRule || (state !== "open" && state !== "asking")) return {}
  const signedVotes = levelRule.signedVotes === "required" ? { signedVotes: levelRule.signedVotes } : {}
  return { level: { name: levelRule.name, number: level, of: template.levelsCount, ...signedVotes } }
}

function expiryOf({ state, unmatchedUntil, levelExpiresAt }: ShownState): number | null {
  if (state === "unmatched") return unmatchedUntil
  return state === "open" ? levelExpiresAt : null
}

function questionOf({ state, question }: ShownState): Pick<ApprovalRequest, "question"> {
  if (state !== "asking" || !question) return {}
  const { text, by, askedAt } = question
  return { question: { text, by: toPerson(by), askedAt: toInstant(askedAt) } }
}

function toQuestion({ text, by, askedAt, answer, state }: Question): ApprovalRequestDetails["questions"][number] {
  return {
    text,
    by: toPerson(by),
    askedAt: toInstant(askedAt),
    ...(answer === undefined ? {} : { answer: answer.text, answeredAt: toInstant(answer.at) }),
    ...(state === "lapsed" ? { lapsed: true } : {}),
  }
}

function toLevel(
  rule: LevelRule,
  of: { readonly number: number; readonly level: LevelState | undefined },
): ApprovalRequestDetails["levels"][number] {
  const { number, level } = of
  const { openedAt = null, closedAt = null } = level ?? {}
  return {
    name: rule.name,
    number,
    group: rule.group,
    state: level?.state ?? "waiting",
    strategy: strategyText(rule.strategy),
    seats: (level?.seats ?? []).map(toSeat),
    ...(openedAt === null ? {} : { openedAt: toInstant(openedAt) }),
    ...(closedAt === null ? {} : { closedAt: toInstant(closedAt) }),
    ...(level?.timers ? { expiresAt: toInstant(level.timers.expiresAt) } : {}),
  }
}

function toSeat(seat: Seat): ApprovalRequestDetails["levels"][number]["seats"][number] {
  return {
    member: toPerson(seat),
    state: seat.state,
    weight: seat.weight,
    veto: seat.veto,
    absent: seat.absent,
    escalation: seat.escalation,
    ...(seat.bar === null ? {} : { barred: seat.bar }),
    ...(seat.delegate === null ? {} : { delegate: toPerson(seat.delegate) }),
    ...(seat.vote === null ? {} : { choice: seat.vote.choice }),
  }
}

/** A rule that has a part in a call, in words. */
export function ruleText({ name, version, reason }: AskingRule): string {
  return `${name}, version ${version}${reason === undefined ? "" : `: ${reason}`}`
}

export function strategyText(strategy: VotingStrategy): string {
  if (strategy.kind === "quorum") return `quorum of ${strategy.count}`
  return strategy.kind === "percentage" ? `${strategy.percent} percent` : strategy.kind
}

function toVote(state: RequestState, vote: VoteRow): ApprovalRequestDetails["votes"][number] {
  const { number, choice, digest, revision, via, at } = vote
  return {
    ...{ number, choice, digest, revision, via },
    level: vote.levelName,
    member: toPerson(vote.member),
    by: toPerson(vote.by),
    standing: standingOf(state, vote),
    ...(vote.comment === null ? {} : { comment: vote.comment }),
    ...(vote.envelope === null ? {} : { envelope: vote.envelope }),
    ...(vote.signature === null ? {} : { signature: vote.signature }),
    at: toInstant(at),
  }
}

/** What a vote on record is worth now. */
function standingOf(state: RequestState, vote: VoteRow): "counts" | "kept" | "outdated" | "replaced" {
  const seat = state.levels[vote.level - 1]?.seats.find(({ key }) => key === vote.member.key)
  if (seat?.vote?.number === vote.number && seat.vote.boundTo === state.digest)
    return vote.digest === state.digest ? "counts" : "kept"
  if (vote.digest !== state.digest) return "outdated"
  assert(seat === undefined || seat.vote === null || seat.vote.number >= vote.number, "a later vote takes the place")
  return "replaced"
}
