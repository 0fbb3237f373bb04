/**
 * The pages behind the links that members get. GET and HEAD show and never change anything, so that a scanner may open
 * a link as often as it likes; only the form that a person sends answers. What a page does are operations, called like
 * any other: the link is the credential.
 */
import { createHash } from "node:crypto"
import {
  approvalRequestsAbstain,
  approvalRequestsAnswer,
  approvalRequestsApprove,
  approvalRequestsAsk,
  approvalRequestsDeny,
} from "@signalbox/contracts/approvals/answers"
import { approvalLimits } from "@signalbox/contracts/approvals/approval-limits"
import { linkAnswersGive, linkAnswersShow, linkChoices } from "@signalbox/contracts/approvals/link-answers"
import { authWhoami } from "@signalbox/contracts/identity/operations"
import { authLogout, userSessionsCreate } from "@signalbox/contracts/identity/user-sessions"
import type { OutputOf } from "@signalbox/contracts/operation"
import { AppError, isErrorCode } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify"
import type { Router, RouterReply } from "../router/router.ts"
import { answerPage, answerPagePolicy, refusalPage, type LinkChoice, type ShownAnswer } from "./answer-page-html.ts"
import { fromFastify } from "./listener.ts"
import { toProblem } from "./problem.ts"

export const answersPath = "/answers"

const formBytesMax = 32 * 1024
const formMediaType = "application/x-www-form-urlencoded"

interface PagesOptions {
  readonly router: Pick<Router, "carryOut">
  readonly clock: Clock
  readonly random: Random
}

interface Visit {
  readonly options: PagesOptions
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly token: string
}

/** Adds the pages to a listener. */
export async function addAnswerPages(app: FastifyInstance, options: PagesOptions): Promise<void> {
  await app.register((pages, _options, done) => {
    pages.addContentTypeParser(
      formMediaType,
      { parseAs: "string", bodyLimit: formBytesMax },
      (_request, body, parsed) => {
        parsed(null, Object.fromEntries(new URLSearchParams(String(body))))
      },
    )
    pages.setErrorHandler((error, request, reply) => sendRefusal(request, reply, fromFastify(error)))
    const visitOf = (request: FastifyRequest, reply: FastifyReply): Visit => {
      const { token } = request.params as { token: string }
      return { options, request, reply, token }
    }
    pages.get(`${answersPath}/:token`, (request, reply) => showPage(visitOf(request, reply)))
    pages.post(`${answersPath}/:token`, (request, reply) => takeAnswer(visitOf(request, reply)))
    done()
  })
}

async function showPage(visit: Visit): Promise<FastifyReply> {
  const shown = await show(visit)
  const { choice } = visit.request.query as { choice?: unknown }
  const chosen = typeof choice === "string" ? choice : undefined
  return sendPage(visit.reply, 200, answerPage(shown, { chosen }))
}

async function show(visit: Visit): Promise<ShownAnswer> {
  const read = await call(visit, { operation: linkAnswersShow.name, input: {} })
  return (read as Extract<RouterReply, { effect: "read" }>).value as ShownAnswer
}

/** After an answer the browser is sent back to the page, which then says what was recorded: a reload sends nothing. */
async function takeAnswer(visit: Visit): Promise<FastifyReply> {
  const form = readForm(visit.request.body)
  const shown = await show(visit)
  if (shown.needsLogin) await answerAfterLogin(visit, shown, form)
  else {
    const { choice, comment } = form
    const input = { choice, ...(comment === "" ? {} : { comment }) }
    await call(visit, { operation: linkAnswersGive.name, input, once: `${visit.token} ${JSON.stringify(input)}` })
  }
  return visit.reply.code(303).header("location", `${answersPath}/${visit.token}`).send()
}

interface Form {
  readonly choice: LinkChoice
  readonly comment: string
  readonly user: string
  readonly password: string
}

function readForm(body: unknown): Form {
  const fields = (body ?? {}) as Record<string, string | undefined>
  const choice = linkChoices.find((each) => each === fields["choice"])
  if (choice === undefined) throw new AppError("request.invalid-input", "press one of the page's buttons")
  const comment = (fields["comment"] ?? "").replaceAll("\r\n", "\n").trim()
  if (comment.length > approvalLimits.commentLengthMax)
    throw new AppError("request.invalid-input", `a comment has ${approvalLimits.commentLengthMax} characters at most`)
  return { choice, comment, user: fields["user"] ?? "", password: fields["password"] ?? "" }
}

const votes: Readonly<Partial<Record<LinkChoice, string>>> = {
  approve: approvalRequestsApprove.name,
  deny: approvalRequestsDeny.name,
  abstain: approvalRequestsAbstain.name,
}

/**
 * The link says which request, which level and what was seen; who answers is who logged in, and nobody else's link will
 * do. What keeps the link from being answered is said before anybody has to give a password.
 */
async function answerAfterLogin(visit: Visit, shown: ShownAnswer, form: Form): Promise<void> {
  if (!shown.choices.includes(form.choice)) throw refusalOf(shown, form)
  const { user, password } = form
  const account = /^sbl_([a-z0-9-]+)_/.exec(visit.token)?.[1] ?? ""
  const login = await call(visit, {
    ...{ operation: userSessionsCreate.name, input: { account, user, password }, once: `login ${visit.request.id}` },
    ...{ token: null, isAside: true },
  })
  const { token } = doneValue(login) as OutputOf<typeof userSessionsCreate>
  try {
    const whoami = await call(visit, { operation: authWhoami.name, input: {}, token })
    const { principal } = (whoami as Extract<RouterReply, { effect: "read" }>).value as OutputOf<typeof authWhoami>
    if (principal !== shown.you.key)
      throw new AppError("approvals.link-forwarded", "this link was sent to somebody else than who logged in")
    await call(visit, { ...answerOf(shown, form), token, once: `answer ${visit.token} ${visit.request.id}` })
  } finally {
    await logOut(visit, token)
  }
}

/** The session was for one answer. Where ending it fails, it ends by itself, and the answer stands. */
async function logOut(visit: Visit, token: string): Promise<void> {
  try {
    const once = `logout ${visit.request.id}`
    await call(visit, { operation: authLogout.name, input: {}, token, once, isAside: true })
  } catch (error) {
    visit.request.log.warn({ err: error }, "a session of the answer page could not be ended")
  }
}

function refusalOf({ refusedWith, why }: ShownAnswer, { choice }: Form): AppError {
  if (refusedWith !== undefined && isErrorCode(refusedWith)) return new AppError(refusedWith, why ?? "it is too late")
  return new AppError("request.invalid-input", `this request can't be answered with "${choice}" now`)
}

function answerOf({ request, digest }: ShownAnswer, { choice, comment }: Form): { operation: string; input: object } {
  if (choice === "answer")
    return { operation: approvalRequestsAnswer.name, input: { request: request.id, answer: comment } }
  const level = request.level?.number
  const seen = { request: request.id, digest, ...(level === undefined ? {} : { level }) }
  const operation = votes[choice]
  if (operation === undefined) return { operation: approvalRequestsAsk.name, input: { ...seen, question: comment } }
  return { operation, input: { ...seen, ...(comment === "" ? {} : { comment }) } }
}

function doneValue(reply: RouterReply): unknown {
  return reply.effect === "change" && reply.reply.status === "done" ? reply.reply.value : {}
}

function call(
  { options, request, token }: Visit,
  of: {
    readonly operation: string
    readonly input: unknown
    /** What makes a changing call the same as another one. */
    readonly once?: string
    /** Another credential than the link's; null for none. */
    readonly token?: string | null
    /** Beside what the person came for: on record as a request of its own. */
    readonly isAside?: boolean
  },
): Promise<RouterReply> {
  const credential = of.token === undefined ? token : of.token
  const requestId = of.isAside === true ? newId("request", options.clock, options.random) : request.id
  return options.router.carryOut({
    ...{ operation: of.operation, input: of.input, requestId, sourceAddress: request.ip },
    signal: AbortSignal.timeout(callMillisecondsMax),
    ...(credential === null ? {} : { token: credential }),
    ...(of.once === undefined ? {} : { idempotencyKey: createHash("sha256").update(of.once).digest("hex") }),
  })
}

const callMillisecondsMax = 30_000

function sendPage(reply: FastifyReply, status: number, html: string): FastifyReply {
  return reply
    .code(status)
    .type("text/html; charset=utf-8")
    .header("content-security-policy", answerPagePolicy)
    .header("referrer-policy", "no-referrer")
    .header("cache-control", "no-store")
    .send(html)
}

/** The link is the credential: none, or one that nobody knows. */
const noLink: ReadonlySet<string> = new Set(["identity.missing-credentials", "identity.invalid-credentials"])

function sendRefusal(request: FastifyRequest, reply: FastifyReply, error: AppError): FastifyReply {
  const problem = toProblem(error, request.id)
  if (problem.status >= 500) request.log.error({ err: error.cause ?? error, requestId: request.id }, error.message)
  if (!noLink.has(error.code)) return sendPage(reply, problem.status, refusalPage(problem))
  const title = "This link is not valid"
  const detail = "It may have been cut by a mail program, or belong to a request that is long past."
  const help =
    "Open the link from the message again, whole. With an account, `signalbox approvals list --mine` has what waits for you."
  return sendPage(reply, 404, refusalPage({ title, detail, help }))
}
