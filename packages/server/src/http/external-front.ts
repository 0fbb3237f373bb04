/**
 * The edge of services outside: takes what comes to `/x/` before the web framework does, since most calls there are only
 * passed through and its work would be most of theirs. The stages of a call are the router's, as for every other.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import { problemMediaType } from "@signalbox/contracts/problem"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import type { FastifyBaseLogger } from "fastify"
import type { ExternalReply } from "../router/external-ports.ts"
import type { Admission, ExternalCall, Passage } from "../router/external-stage.ts"
import type { OrLater } from "../router/rule-ports.ts"
import { toAppError, type Router } from "../router/router.ts"
import { bearerOf } from "./bearer.ts"
import { CallRate } from "./call-rate.ts"
import { heldError, waitForHeld } from "./held-answer.ts"
import { writeReply } from "./kept-reply.ts"
import { readHoldWishes } from "./hold-headers.ts"
import { openBody, readWhole, type PassBody } from "./pass-body.ts"
import { requestHeadersOf } from "./pass-headers.ts"
import { rewrittenHeadersOf } from "./rewritten-headers.ts"
import { rulesHeader, rulesText } from "./rules-header.ts"
import { passThrough } from "./pass-through.ts"
import { answerOn, passUpgrade } from "./pass-upgrade.ts"
import { toProblem } from "./problem.ts"

const prefix = "/x/"

export interface ExternalFrontOptions {
  readonly router: Router
  readonly clock: Clock
  readonly random: Random
  readonly logger: FastifyBaseLogger
  readonly callsPerSecondMax: number
  /** Calls a second of one address, whatever keys it shows. */
  readonly callsPerAddressMax: number
  readonly protocol: "http" | "https"
}

export class ExternalFront {
  readonly #options: ExternalFrontOptions
  readonly #perCaller: CallRate
  readonly #perAddress: CallRate
  /** Of connections that were upgraded: the server below doesn't know them any more. */
  readonly #upgraded = new Set<Duplex>()

  constructor(options: ExternalFrontOptions) {
    this.#options = options
    const now = (): number => options.clock.now()
    this.#perCaller = new CallRate(options.callsPerSecondMax, now)
    this.#perAddress = new CallRate(options.callsPerAddressMax, now)
  }

  /** Whether a request is for a service outside. */
  takes(request: IncomingMessage): boolean {
    return request.url?.startsWith(prefix) === true
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    const requestId = newId("request", this.#options.clock, this.#options.random)
    const fail = (error: unknown): void => this.#fail({ request, response, requestId }, error)
    const method = request.method ?? "GET"
    const to = splitUrl(request.url ?? "")
    try {
      this.#take({ request, response, requestId, method, to, fail })?.catch(fail)
    } catch (error) {
      fail(error)
    }
  }

  /** A request whose connection is to become a WebSocket. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const requestId = newId("request", this.#options.clock, this.#options.random)
    socket.on("error", () => socket.destroy())
    const fail = (error: unknown): void =>
      this.#fail({ request, response: answerOn(socket, request), requestId }, error)
    this.#passUpgrade(request, { socket, head, requestId, fail }).catch(fail)
  }

  /** Ends what the server below doesn't know any more. */
  close(): void {
    for (const socket of this.#upgraded) socket.destroy()
  }

  async #passUpgrade(
    request: IncomingMessage,
    call: {
      readonly socket: Duplex
      readonly head: Buffer
      readonly requestId: string
      readonly fail: (error: unknown) => void
    },
  ): Promise<void> {
    if (request.headers.upgrade?.toLowerCase() !== "websocket")
      throw new AppError("request.invalid-input", "connections are upgraded to websocket and to nothing else")
    const { service, path, query } = splitUrl(request.url ?? "")
    const { requestId } = call
    const asked = { service, path, query, method: "GET", requestId, canWait: false }
    const admission = await this.#admit(request, asked)
    assert(admission.kind === "passage", "a connection that can't wait is not held")
    const { passage } = admission
    passUpgrade({
      ...call,
      ...{ passage, request, path: sentPath(passage, path + query) },
      headers: await this.#headersFor(request, passage),
      opened: (sockets) => {
        for (const socket of sockets) {
          this.#upgraded.add(socket)
          socket.once("close", () => this.#upgraded.delete(socket))
        }
      },
    })
  }

  #headersFor(request: IncomingMessage, passage: Passage): OrLater<string[]> {
    const { rawHeaders, headers } = request
    const came = { rawHeaders, headers, address: request.socket.remoteAddress, protocol: this.#options.protocol }
    const credentials = passage.service.credentials()
    if (passage.rewritten) return rewrittenHeadersOf(came, { ...passage, rewritten: passage.rewritten }, credentials)
    if (credentials instanceof Promise) return credentials.then((shown) => requestHeadersOf(came, passage, shown))
    return requestHeadersOf(came, passage, credentials)
  }

  /** Undefined where nothing had to be waited for: no body, no look into the database, no credentials from elsewhere. */
  #take(taken: Taken): Promise<void> | undefined {
    const { request, requestId, method, to } = taken
    const { service, path, query } = to
    const admission = this.#admit(request, { service, path, query, method, requestId, canWait: true })
    return admission instanceof Promise
      ? admission.then((late) => this.#goOn(taken, late))
      : this.#goOn(taken, admission)
  }

  #goOn(taken: Taken, admission: Admission): Promise<void> | undefined {
    const { request, response, requestId } = taken
    if (admission.kind === "held") return this.#answerHeld(request, response, { ...admission, requestId })
    const { passage } = admission
    const headers = this.#headersFor(request, passage)
    return headers instanceof Promise
      ? headers.then((late) => this.#open(taken, passage, late))
      : this.#open(taken, passage, headers)
  }

  #open(taken: Taken, passage: Passage, headers: string[]): Promise<void> | undefined {
    const { request, response, method, to, fail } = taken
    const path = sentPath(passage, to.path + to.query)
    const whole = passage.rewritten?.body ?? passage.body
    const pass = (body: PassBody): void => passThrough({ passage, method, path, headers, body, response, fail })
    const body = whole
      ? { content: whole, release: () => undefined }
      : openBody(request, passage.operation.bodyBytesMax)
    if (body instanceof Promise) return body.then(pass)
    pass(body)
    return undefined
  }

  #admit(
    request: IncomingMessage,
    call: Pick<ExternalCall, "service" | "path" | "query" | "method" | "requestId" | "canWait">,
  ): OrLater<Admission> {
    const { callsPerAddressMax, router } = this.#options
    const address = request.socket.remoteAddress
    if (!this.#perAddress.take(address ?? ""))
      throw rateLimited(`more than ${callsPerAddressMax} calls in a second from one address`)
    const { headers } = request
    const { service, method, path, query, requestId, canWait } = call
    const admission = router.admit({
      service,
      method,
      path,
      query,
      requestId,
      canWait,
      token: bearerOf(headers),
      sourceAddress: address,
      wishes: readHoldWishes(headers),
      headers,
      signal: neverAborted,
      readBody: (bytesMax) => readWhole(request, bytesMax),
    })
    return admission instanceof Promise ? admission.then((late) => this.#counted(late)) : this.#counted(admission)
  }

  /** @throws request.rate-limited */
  #counted(admission: Admission): Admission {
    const { account, principal, credential } = admission.kind === "held" ? admission.caller : admission.passage.caller
    if (this.#perCaller.take(credential ?? `${account} ${principal}`)) return admission
    throw rateLimited(`more than ${this.#options.callsPerSecondMax} calls in a second`)
  }

  /** What the service replied, where the caller waits and its call has run by then. */
  async #answerHeld(
    request: IncomingMessage,
    response: ServerResponse,
    { held, ruledBy, requestId }: Pick<HeldAdmission, "held" | "ruledBy"> & { readonly requestId: string },
  ): Promise<void> {
    const gone = new AbortController()
    response.once("close", () => gone.abort())
    const token = bearerOf(request.headers)
    const { ended, waited } = await waitForHeld(request.headers, held, (operation, input) =>
      this.#options.router.carryOut({ operation, input, requestId, signal: gone.signal, ...(token && { token }) }),
    )
    response.setHeader("x-request-id", requestId)
    if (waited !== undefined) response.setHeader("preference-applied", `wait=${waited}`)
    if (ruledBy.length > 0) response.setHeader(rulesHeader, rulesText(ruledBy))
    if (ended?.result !== undefined) {
      response.setHeader("signalbox-approval", ended.request)
      writeReply(response, ended.result as ExternalReply)
      return
    }
    const error = ended && heldError(ended)
    if (error) throw error
    response.writeHead(202, { "content-type": "application/json", location: held.requestUrl })
    response.end(JSON.stringify(held))
  }

  #fail(
    call: { readonly request: IncomingMessage; readonly response: ServerResponse; readonly requestId: string },
    cause: unknown,
  ): void {
    const { request, response, requestId } = call
    const error = toAppError(cause)
    const problem = toProblem(error, requestId)
    if (problem.status >= 500)
      this.#options.logger.error({ err: error.cause ?? error, requestId, code: error.code }, error.message)
    if (response.headersSent || response.destroyed) {
      response.destroy()
      return
    }
    const text = JSON.stringify(problem)
    const headers = ["content-type", problemMediaType, "content-length", String(Buffer.byteLength(text))]
    if (problem.status === 429) headers.push("retry-after", "1")
    // A body that nobody read would be taken for the next request.
    if (!request.complete) headers.push("connection", "close")
    response.writeHead(problem.status, [...headers, "x-request-id", requestId])
    response.end(text)
  }
}

const sentPath = ({ rewritten }: Passage, came: string): string => (rewritten ? rewritten.path + rewritten.query : came)

/** A request that came to a service outside. */
interface Taken {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly requestId: string
  readonly method: string
  readonly to: ReturnType<typeof splitUrl>
  /** Answers with what went wrong. */
  readonly fail: (error: unknown) => void
}

type HeldAdmission = Extract<Admission, { kind: "held" }>

/** What is asked before a call is passed on takes no longer for a caller that is gone. */
const neverAborted = new AbortController().signal

const rateLimited = (message: string): AppError => new AppError("request.rate-limited", message)

/** `/x/<service>/<path>?<query>`; a path of its own begins with a slash, the query with its question mark. */
export function splitUrl(url: string): { service: string; path: string; query: string } {
  const question = url.indexOf("?")
  const end = question === -1 ? url.length : question
  const slash = url.indexOf("/", prefix.length)
  const at = slash === -1 || slash > end ? end : slash
  const path = url.slice(at, end)
  return { service: url.slice(prefix.length, at), path: path === "" ? "/" : path, query: url.slice(end) }
}
