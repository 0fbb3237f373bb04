/**
 * Sends a call that has its passage to the service, and what the service replies to the caller: bytes as they come, each
 * side as fast as the other takes them. Owns one try at a time; a call that changes nothing and has no body is tried again on
 * another base URL as long as the caller has got nothing.
 */
import type { IncomingHttpHeaders, ServerResponse } from "node:http"
import { type AppError, isAppError } from "@signalbox/kernel/app-error"
import type { Dispatcher } from "undici"
import { toGatewayError } from "../router/external-fault.ts"
import type { UpstreamAttempt, UpstreamTarget } from "../router/external-ports.ts"
import type { Passage } from "../router/external-stage.ts"
import type { Started } from "../router/follow-stage.ts"
import { responseHeadersOf } from "./pass-headers.ts"
import { rulesHeader, rulesText } from "./rules-header.ts"
import { startedHeader, startedText } from "./started-header.ts"
import type { PassBody } from "./pass-body.ts"

export interface PassCall {
  readonly passage: Passage
  readonly method: string
  /** Below the base URL, with its query. */
  readonly path: string
  /** Name, value, name, value. */
  readonly headers: string[]
  readonly body: PassBody
  readonly response: ServerResponse
  /** Told of what went wrong before the reply began; the reply is still to be written. */
  readonly fail: (error: AppError) => void
}

const textBytesMax = 4 * 1024

/** Statuses by which what stands before a service says that the service is not there. */
const failedStatuses: ReadonlySet<number> = new Set([502, 503, 504])

export function passThrough(call: PassCall): void {
  new PassThroughCall(call).send()
}

class PassThroughCall implements Dispatcher.DispatchHandler {
  readonly #call: PassCall
  readonly #tried: UpstreamTarget[] = []
  #attempt: UpstreamAttempt | undefined
  #controller: Dispatcher.DispatchController | undefined
  #timer: NodeJS.Timeout | undefined
  /** Of the reply's announced length, what is still to come; undefined where it is not announced. */
  #left: number | undefined
  #hasBegun = false
  /** Where rules follow the call: until what they start is written. */
  #beginning: Promise<void> | undefined
  #hasBytes = false
  #isOver = false
  #isTimedOut = false

  constructor(call: PassCall) {
    this.#call = call
    call.response.once("close", () => this.#onClosed())
    const { total } = call.passage.service.timeouts
    if (total > 0) this.#timer = setTimeout(() => this.#onTotal(), total)
  }

  send(): void {
    const { passage, method, path, headers, body } = this.#call
    const { upstream, timeouts } = passage.service
    try {
      this.#attempt = upstream.begin(this.#tried)
      const { target } = this.#attempt
      target.dispatcher.dispatch(
        {
          origin: target.origin,
          path: target.basePath + path,
          method,
          headers,
          body: body.content,
          headersTimeout: timeouts.headers,
          bodyTimeout: timeouts.idle,
        },
        this,
      )
    } catch (error) {
      this.#giveUp(error)
    }
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#isOver) controller.abort(gone)
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    // What is only said meanwhile (100 to 199) is between us and the service.
    if (status < 200) return
    const { passage } = this.#call
    if (failedStatuses.has(status) && this.#mayTryAgain()) {
      controller.abort(refused)
      return
    }
    const { follow } = passage
    if (!follow || status >= 400) {
      this.#begin(status, headers)
      return
    }
    controller.pause()
    this.#beginning = follow(status).then(
      (started) => {
        this.#begin(status, headers, started)
        controller.resume()
      },
      (error: unknown) => controller.abort(error as Error),
    )
  }

  #begin(status: number, headers: IncomingHttpHeaders, started?: Started): void {
    const { response, passage, method } = this.#call
    if (this.#isOver) return
    const length = headers["content-length"]
    if (method !== "HEAD" && typeof length === "string") this.#left = Number(length)
    const shown = responseHeadersOf(headers, passage.requestId)
    const text = started && startedText(started)
    if (text !== undefined) shown.push(startedHeader, text)
    if (passage.ruledBy) shown.push(rulesHeader, rulesText(passage.ruledBy))
    response.writeHead(status, shown)
    this.#hasBegun = true
    passage.settle?.(status)
    this.#attempt?.judge(failedStatuses.has(status) ? "failed" : "good")
    // A reply that is begun long before its first byte is there: events, long polls.
    if (this.#left === undefined) setImmediate(() => this.#hasBytes || this.#isOver || response.flushHeaders())
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const { response } = this.#call
    this.#hasBytes = true
    if (this.#left !== undefined) {
      this.#left -= chunk.length
      if (this.#left === 0) {
        // As text it leaves in one piece with the headers before it, which is less work than two.
        if (chunk.length <= textBytesMax) response.end(chunk.toString("latin1"), "latin1")
        else response.end(chunk)
        return
      }
    }
    if (response.write(chunk)) return
    controller.pause()
    response.once("drain", () => controller.resume())
  }

  onResponseEnd(): void {
    if (this.#beginning && !this.#hasBegun) {
      // A reply without a body ends before what follows the call is written.
      void this.#beginning.then(() => this.#finish())
    } else this.#finish()
  }

  #finish(): void {
    const { response, body } = this.#call
    if (this.#isOver) return
    this.#over()
    body.release()
    if (!response.writableEnded) response.end()
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    if (this.#isOver) return
    if (this.#hasBegun) {
      // The caller has to see that this is not the whole reply.
      this.#over()
      this.#call.body.release()
      this.#call.response.destroy()
      return
    }
    const isCallers = isAppError(error) && error.code.startsWith("request.")
    if (!isCallers) this.#attempt?.judge("failed")
    if (isCallers || this.#isTimedOut || !this.#mayTryAgain()) {
      this.#giveUp(error)
      return
    }
    const target = this.#endAttempt()
    if (target) this.#tried.push(target)
    this.send()
  }

  /** Whether nothing is lost and nothing done twice by another try. */
  #mayTryAgain(): boolean {
    const { passage, body } = this.#call
    const isRepeatable = passage.operation.effect === "read" && body.content === null
    return isRepeatable && this.#tried.length < passage.service.retries
  }

  #giveUp(error: unknown): void {
    const { body, fail, passage } = this.#call
    if (this.#isOver) return
    this.#over()
    body.release()
    const failure = toGatewayError(error, passage.service.name, this.#isTimedOut)
    passage.settle?.(failure.code)
    fail(failure)
  }

  #onClosed(): void {
    const { response, body, passage } = this.#call
    if (response.writableFinished || this.#isOver) return
    passage.settle?.("gateway.outcome-unknown")
    this.#over()
    body.release()
    this.#controller?.abort(gone)
  }

  #onTotal(): void {
    if (this.#isOver) return
    this.#isTimedOut = true
    if (this.#controller) this.#controller.abort(tooLong)
    else this.onResponseError(undefined, tooLong)
  }

  #endAttempt(): UpstreamTarget | undefined {
    const attempt = this.#attempt
    this.#attempt = undefined
    attempt?.end()
    return attempt?.target
  }

  #over(): void {
    this.#isOver = true
    clearTimeout(this.#timer)
    this.#endAttempt()
  }
}

const gone = new Error("the caller is gone")
const refused = new Error("the service is not there")
const tooLong = new Error("the call took longer than its total time")
