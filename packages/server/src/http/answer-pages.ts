/**
 * The pages behind the links that members get. GET and HEAD show and never change anything, so that a scanner may open
 * a link as often as it likes; only the form that a person sends answers. What a page does are operations, called like
 * any other: the link is the credential.
 */
import { createHash } from "node:crypto"
import {
  approvalRequestsAbstain,
  approvalRequestsApprove,
  approvalRequestsDeny,
} from "@signalbox/contracts/approvals/answers"
import { approvalLimits } from "@signalbox/contracts/approvals/approval-limits"
import { linkAnswersGive, linkAnswersShow, linkChoices } from "@signalbox/contracts/approvals/link-answers"
import { authWhoami } from "@signalbox/contracts/identity/operations"
import { userSessionsCreate } from "@signalbox/contracts/identity/user-sessions"
import type { OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify"
import type { Router, RouterReply } from "../router/router.ts"
import { answerPage, answerPagePolicy, refusalPage, type LinkChoice, type ShownAnswer } from "./answer-page-html.ts"
import { fromFastify } from "./listener.ts"
import { toProblem } from "./problem.ts"

export const answersPath = "/answers"

const formBytesMax = 32 * 1024
const formMediaType = "application/x-www-form-urlencoded"

interface Visit {
  readonly router: Pick<Router, "carryOut">
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly token: string
}

/** Adds the pages to a listener. */
export async function addAnswerPages(app: FastifyInstance, router: Pick<Router, "carryOut">): Promise<void> {
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
      return { router, request, reply, token }
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

/** The link says which request and what was seen; who answers is who logged in, and nobody else's link will do. */
async function answerAfterLogin(visit: Visit, shown: ShownAnswer, form: Form): Promise<void> {
  const operation = votes[form.choice]
  if (operation === undefined)
    throw new AppError("approvals.login-required", "log in on the command line to ask or to answer a question")
  const { user, password, comment } = form
  const account = /^sbl_([a-z0-9-]+)_/.exec(visit.token)?.[1] ?? ""
  const key = `${visit.token} ${visit.request.id}`
  const login = await call(visit, {
    ...{ operation: userSessionsCreate.name, input: { account, user, password }, once: `login ${visit.request.id}` },
    token: null,
  })
  const { token } = doneValue(login) as OutputOf<typeof userSessionsCreate>
  const whoami = await call(visit, { operation: authWhoami.name, input: {}, token })
  const { principal } = (whoami as Extract<RouterReply, { effect: "read" }>).value as OutputOf<typeof authWhoami>
  if (principal !== shown.you.key)
    throw new AppError("approvals.link-forwarded", "this link was sent to somebody else than who logged in")
  const input = { request: shown.request.id, digest: shown.digest, ...(comment === "" ? {} : { comment }) }
  await call(visit, { operation, input, token, once: `vote ${key}` })
}

function doneValue(reply: RouterReply): unknown {
  return reply.effect === "change" && reply.reply.status === "done" ? reply.reply.value : {}
}

function call(
  { router, request, token }: Visit,
  of: {
    readonly operation: string
    readonly input: unknown
    /** What makes a changing call the same as another one. */
    readonly once?: string
    /** Another credential than the link's; null for none. */
    readonly token?: string | null
  },
): Promise<RouterReply> {
  const credential = of.token === undefined ? token : of.token
  return router.carryOut({
    ...{ operation: of.operation, input: of.input, requestId: request.id, sourceAddress: request.ip },
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

function sendRefusal(request: FastifyRequest, reply: FastifyReply, error: AppError): FastifyReply {
  const problem = toProblem(error, request.id)
  if (problem.status >= 500) request.log.error({ err: error.cause ?? error, requestId: request.id }, error.message)
  if (error.code !== "identity.invalid-credentials") return sendPage(reply, problem.status, refusalPage(problem))
  const title = "This link is not valid"
  const detail = "It may have been cut by a mail program, or belong to a request that is long past."
  const help =
    "Open the link from the message again, whole. With an account, `signalbox approvals list --mine` has what waits for you."
  return sendPage(reply, 404, refusalPage({ title, detail, help }))
}
