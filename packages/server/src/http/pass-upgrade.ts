/**
 * Carries a WebSocket to a service outside: once the service has agreed, bytes go both ways untouched until one side ends.
 * Owns both sockets from then on. What the service says instead of agreeing is the caller's answer.
 */
import { ServerResponse, type IncomingHttpHeaders, type IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import { pipeline } from "node:stream"
import type { Dispatcher } from "undici"
import { toGatewayError } from "../router/external-fault.ts"
import type { UpstreamAttempt } from "../router/external-ports.ts"
import type { Passage } from "../router/external-stage.ts"
import { responseHeadersOf } from "./pass-headers.ts"

export interface UpgradeCall {
  readonly passage: Passage
  /** Below the base URL, with its query. */
  readonly path: string
  readonly headers: string[]
  readonly request: IncomingMessage
  readonly socket: Duplex
  /** What the caller sent already. */
  readonly head: Buffer
  readonly fail: (error: unknown) => void
  /** Told of the two sockets, to end them where the server stops. */
  readonly opened: (sockets: readonly Duplex[]) => void
}

/** An answer to a request whose connection was to be upgraded: it is the last on its connection. */
export function answerOn(socket: Duplex, request: IncomingMessage): ServerResponse {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket as never)
  response.once("finish", () => socket.end())
  return response
}

export function passUpgrade(call: UpgradeCall): void {
  const { passage, path, headers, socket } = call
  const { upstream, timeouts } = passage.service
  const attempt = upstream.begin([])
  const { target } = attempt
  const handler = new UpgradeHandler(call, attempt)
  socket.once("close", () => handler.onCallerGone())
  target.dispatcher.dispatch(
    {
      origin: target.origin,
      path: target.basePath + path,
      method: "GET",
      headers,
      upgrade: "websocket",
      headersTimeout: timeouts.headers,
      bodyTimeout: timeouts.idle,
    },
    handler,
  )
}

class UpgradeHandler implements Dispatcher.DispatchHandler {
  readonly #call: UpgradeCall
  readonly #attempt: UpstreamAttempt
  #controller: Dispatcher.DispatchController | undefined
  #response: ServerResponse | undefined
  #isOver = false
  #isCallerGone = false

  constructor(call: UpgradeCall, attempt: UpstreamAttempt) {
    this.#call = call
    this.#attempt = attempt
  }

  onCallerGone(): void {
    this.#isCallerGone = true
    this.#controller?.abort(new Error("the caller is gone"))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#isCallerGone) controller.abort(new Error("the caller is gone"))
  }

  onRequestUpgrade(
    ...[, , headers, upstream]: Parameters<NonNullable<Dispatcher.DispatchHandler["onRequestUpgrade"]>>
  ): void {
    const { socket, head, passage, opened } = this.#call
    this.#attempt.judge("good")
    passage.settle?.("done")
    const told = responseHeadersOf(headers, passage.requestId)
    const lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket"]
    for (let index = 0; index < told.length; index += 2) lines.push(`${told[index]}: ${told[index + 1]}`)
    socket.write(`${lines.join("\r\n")}\r\n\r\n`, "latin1")
    if (head.length > 0) upstream.write(head)
    opened([socket, upstream])
    let ended = 0
    const onEnd = (): void => {
      ended++
      if (ended === 2) this.#end()
    }
    pipeline(upstream, socket, onEnd)
    pipeline(socket, upstream, onEnd)
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200) return
    this.#attempt.judge("good")
    const { socket, request, passage } = this.#call
    passage.settle?.(status)
    this.#response = answerOn(socket, request)
    this.#response.writeHead(status, responseHeadersOf(headers, passage.requestId))
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#response?.write(chunk) !== false) return
    controller.pause()
    this.#response.once("drain", () => controller.resume())
  }

  onResponseEnd(): void {
    this.#response?.end()
    this.#end()
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    if (!this.#isCallerGone) this.#attempt.judge("failed")
    this.#call.passage.settle?.("gateway.outcome-unknown")
    this.#end()
    if (this.#isCallerGone || this.#response) this.#call.socket.destroy()
    else this.#call.fail(toGatewayError(error, this.#call.passage.service.name, false))
  }

  #end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#attempt.end()
  }
}
