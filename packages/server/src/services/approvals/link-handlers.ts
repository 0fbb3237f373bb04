/** Answers by link: the same machine decides as for every other way; the link says who answers, and for which content. */
import { linkAnswersGive, linkAnswersShow } from "@signalbox/contracts/approvals/link-answers"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import type { Identity } from "@signalbox/approvals/template-rules"
import type { Input, RequestState } from "@signalbox/approvals/types"
import { AppError } from "@signalbox/kernel/app-error"
import type { ErrorCode } from "@signalbox/kernel/error-catalogue"
import { toInstant } from "@signalbox/kernel/clock"
import { onChange, onRead, type Caller, type ChangeContext, type Handler } from "../../router/handler.ts"
import type { Sql } from "../../storage/database.ts"
import { linkOfCaller } from "./link-authenticator.ts"
import { findLink, useLink, type LinkRow } from "./link-store.ts"
import type { ApprovalsContext } from "./options.ts"
import { findPerson, identityOf } from "./people.ts"
import { changeRequest, getLocked, requestNotFound } from "./request-change.ts"
import { getRequest } from "./request-handlers.ts"
import { listVotes, readContent, type RequestRow } from "./request-store.ts"
import { requestUrl, toPerson, toRequest, toRequestDetails } from "./request-wire.ts"

type Shown = OutputOf<typeof linkAnswersShow>
type Given = InputOf<typeof linkAnswersGive>

export function linkHandlers(context: ApprovalsContext): Handler[] {
  return [
    onRead(linkAnswersShow, async (_input, { sql, caller, now }) => {
      const link = await getLink(sql, caller)
      return show(context, sql, { link, now })
    }),
    onChange(linkAnswersGive, (input, ctx) => give(context, input, ctx)),
  ]
}

/** @throws approvals.request-not-found where the request, and the link with it, is past its retention */
async function getLink(sql: Sql, caller: Caller): Promise<LinkRow> {
  const place = linkOfCaller(caller)
  const link = place && (await findLink(sql, place))
  if (!link) throw requestNotFound(place?.requestId ?? "")
  return link
}

async function show(
  context: ApprovalsContext,
  sql: Sql,
  { link, now }: { readonly link: LinkRow; readonly now: number },
): Promise<Shown> {
  const row = await getRequest(sql, link.account, link.requestId)
  const [content, votes] = await Promise.all([readContent(sql, row.id), listVotes(sql, row.id)])
  const url = requestUrl(context.publicUrl, row.id)
  const details = toRequestDetails(row, { url, content, votes })
  const isLoginNeeded = needsLogin(context, row)
  const answered = findAnswer(row.stateData, link, isLoginNeeded)
  const obstacle = findObstacle(row.stateData, link, { now, isAnswered: answered !== undefined })
  const { person, seat, digest, expiresAt } = link
  return {
    request: toRequest(row, url),
    content,
    you: toPerson(person),
    ...(seat === null ? {} : { member: toPerson(memberOf(row.stateData, link)) }),
    votes: details.votes
      .filter(({ standing }) => standing === "counts" || standing === "kept")
      .map(({ member, choice, level, comment }) => ({
        member,
        choice,
        level,
        ...(comment === undefined ? {} : { comment }),
      })),
    choices: obstacle === undefined ? choicesOf(row.stateData, link) : [],
    ...(obstacle && { why: obstacle.why, refusedWith: obstacle.code }),
    ...(answered && { answered }),
    digest,
    needsLogin: isLoginNeeded,
    expiresAt: toInstant(expiresAt),
  }
}

function memberOf(state: RequestState, { level, seat, person }: LinkRow): { key: string; name?: string } {
  return state.levels[level - 1]?.seats.find(({ key }) => key === seat) ?? person
}

/** Where a login is needed too, the vote is that of the login, and the link itself stays unused. */
function findAnswer(state: RequestState, link: LinkRow, isLoginNeeded: boolean): Shown["answered"] {
  const { level, seat, person, digest, usedAt, usedFor } = link
  if (usedAt !== null) return { choice: usedFor ?? "", at: toInstant(usedAt) }
  if (!isLoginNeeded) return undefined
  const vote = state.levels[level - 1]?.seats.find(({ key }) => key === seat)?.vote
  if (vote?.by.key !== person.key || vote.digest !== digest) return undefined
  return { choice: vote.choice, at: toInstant(vote.at) }
}

interface Obstacle {
  readonly code: ErrorCode
  readonly why: string
}

/** What keeps a link from being answered; whoever answers anyway is refused by the machine, with the same code. */
function findObstacle(
  state: RequestState,
  link: LinkRow,
  { now, isAnswered }: { readonly now: number; readonly isAnswered: boolean },
): Obstacle | undefined {
  const obstacle = (code: ErrorCode, why: string): Obstacle => ({ code, why })
  if (isAnswered) return obstacle("approvals.link-used", "This link was used: each link counts once.")
  if (state.endedAt !== null) return obstacle("approvals.request-ended", `This request is ${state.state}.`)
  if (link.digest !== state.digest)
    return obstacle("approvals.content-changed", "What is to be approved has changed since this link was sent.")
  if (link.expiresAt <= now) return obstacle("approvals.link-expired", "This link has expired.")
  if (link.seat === null)
    return state.state === "asking" ? undefined : obstacle("approvals.no-question", "No question waits for an answer.")
  const level = state.levels[link.level - 1]
  if (state.level !== link.level || level?.state !== "open")
    return obstacle("approvals.level-closed", "This level is not open any more.")
  if (level.seats.find(({ key }) => key === link.seat)?.state === "removed")
    return obstacle("approvals.member-removed", "The member has left the group since this link was sent.")
  return undefined
}

function choicesOf(state: RequestState, { level, seat }: LinkRow): Shown["choices"] {
  if (seat === null) return ["answer"]
  const rule = state.template?.rule.levels[level - 1]
  // A page has no key to sign with.
  const isSigned = rule?.signedVotes === "required"
  return [
    ...(isSigned ? [] : (["approve"] as const)),
    "deny",
    ...(rule?.abstention === true && !isSigned ? (["abstain"] as const) : []),
    ...(state.state === "asking" ? [] : (["ask"] as const)),
  ]
}

function needsLogin({ directory }: ApprovalsContext, { account, stateData }: RequestRow): boolean {
  // Joined names: a freeze adds its own approvers' template.
  const names = stateData.template?.name.split("+") ?? []
  return names.some((name) => directory.needsLogin(account, name))
}

async function give(
  context: ApprovalsContext,
  given: Given,
  ctx: ChangeContext,
): Promise<OutputOf<typeof linkAnswersGive>> {
  const { account, tx, now } = ctx
  const place = linkOfCaller(ctx.caller)
  const row = await getLocked(tx, account, place?.requestId ?? "")
  const link = await getLink(tx, ctx.caller)
  if (link.usedAt !== null)
    throw new AppError("approvals.link-used", `this link was used at ${toInstant(link.usedAt)}: ${link.usedFor}`)
  if (link.expiresAt <= now)
    throw new AppError("approvals.link-expired", `this link expired at ${toInstant(link.expiresAt)}`)
  if (needsLogin(context, row))
    throw new AppError("approvals.login-required", `${row.id} is answered after a login, not by a link alone`)
  const changed = await changeRequest(context, ctx, { row, input: inputOf(context, link, { given, account, now }) })
  // A question is no answer yet: the link is still good for one.
  if (given.choice !== "ask") await useLink(tx, link, { choice: given.choice, now })
  return { request: toRequest(changed, requestUrl(context.publicUrl, row.id)), choice: given.choice }
}

function inputOf(
  context: ApprovalsContext,
  { person, level, digest }: LinkRow,
  { given, account, now }: { readonly given: Given; readonly account: string; readonly now: number },
): Input {
  const known = findPerson(context.principals, account, { reference: person.key, now })
  const actor: Identity = known ? identityOf(known) : { ...person, keys: [person.key], teams: [] }
  const { choice, comment } = given
  if (choice === "answer") return { type: "answer", actor, text: textOf(given) }
  if (choice === "ask") return { type: "ask", actor, digest, level, text: textOf(given) }
  return { type: "vote", actor, choice, digest, level, via: "link", ...(comment === undefined ? {} : { comment }) }
}

function textOf({ choice, comment = "" }: Given): string {
  if (comment.trim() !== "") return comment
  throw new AppError("request.invalid-input", `"${choice}" needs words: give them in \`comment\``)
}
