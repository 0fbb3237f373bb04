import { EventEmitter } from "node:events"
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import websocket from "@fastify/websocket"
import { agentLimits } from "@signalbox/contracts/fleet/agent-protocol"
import type { AnyOperation, Held } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify"
import type { WebSocket } from "ws"
import type { OpenedSocket } from "../router/handler.ts"
import { RawContent } from "../router/raw-content.ts"
import type { CallReceiver } from "../router/forwarded-call.ts"
import type { Started } from "../router/follow-stage.ts"
import type { Router, RouterReply } from "../router/router.ts"
import { addAnswerPages } from "./answer-pages.ts"
import { bearerOf } from "./bearer.ts"
import { addHookEntry } from "./hook-entry.ts"
import { writeEventStream } from "./event-stream.ts"
import { heldError, waitForHeld } from "./held-answer.ts"
import { readHoldWishes } from "./hold-headers.ts"
import { addForwardedCalls } from "./forwarded-calls.ts"
import { closedSignal, createExternalFront, createListener, unknownPath, type ListenerOptions } from "./listener.ts"
import { makeOperationPaths, type OperationPaths } from "./operation-paths.ts"
import { sendRaw } from "./raw-reply.ts"
import { rulesHeader, rulesText } from "./rules-header.ts"
import { startedHeader, startedText } from "./started-header.ts"

/**
 * The HTTP edge: finds the operation of a request, hands it to the router, and writes what comes back. It knows
 * nothing of any service; everything that decides is a stage of the router.
 */
export interface EdgeOptions extends ListenerOptions {
  readonly router: Router
  readonly operations: ReadonlyMap<string, AnyOperation>
  /** Whether other operations than these are unknown here, by name too. */
  readonly onlyThese?: boolean
  /** Whether members answer by links here, and not at a listener of their own. */
  readonly answerPages?: boolean
  /** Takes calls of other servers, where this one is a destination of the routing map. */
  readonly receiver?: CallReceiver | undefined
  /** Documents that anybody may read: the OpenAPI file, schemas, the CA certificate, health. */
  readonly documents: ReadonlyMap<string, PublicDocument>
}

export interface PublicDocument {
  readonly mediaType: string
  body(): Promise<string> | string
}

export async function createEdge(options: EdgeOptions): Promise<FastifyInstance> {
  const external = options.onlyThese === true ? undefined : createExternalFront(options, options.router)
  const app = await createListener({ ...options, ...(external && { external }) })
  const upgrades = new EventEmitter()
  const limits = { maxPayload: agentLimits.frameBytesMax, server: upgrades as Server }
  await app.register(websocket, { options: limits, preClose: (done) => leave(app, upgrades, done) })
  app.server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (external?.takes(request) === true) external.upgrade(request, socket, head)
    else if (!upgrades.emit("upgrade", request, socket, head)) socket.end(unavailable)
  })
  app.addHook("preClose", () => Promise.resolve(external?.close()))
  addDocuments(app, options.documents)
  addSessions(app, options)
  addOperations(app, options)
  const { router, receiver } = options
  if (receiver) addForwardedCalls(app, { router, receiver })
  if (options.onlyThese !== true) await addHookEntry(app, options)
  if (options.answerPages === true) await addAnswerPages(app, options)
  return app
}

/** To an upgrade that was on its way when the server began to stop. */
const unavailable = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
/** "Going away" (RFC 6455, 7.4.1): those who hear it come back at once. */
const goingAway = 1001

function leave({ websocketServer }: FastifyInstance, upgrades: EventEmitter, done: () => void): void {
  upgrades.removeAllListeners("upgrade")
  for (const client of websocketServer.clients) client.close(goingAway, "the server is stopping")
  websocketServer.close()
  done()
}

/** The listener of members, outside: answer pages, and nothing else. */
export async function createMembersEdge(
  options: ListenerOptions & { readonly router: Router },
): Promise<FastifyInstance> {
  const app = await createListener(options)
  await addAnswerPages(app, options)
  return app
}

function addDocuments(app: FastifyInstance, documents: EdgeOptions["documents"]): void {
  for (const [path, document] of documents) {
    app.get(path, async (_request, reply) => reply.type(document.mediaType).send(await document.body()))
  }
}

interface Accepted {
  readonly accept: (opened: OpenedSocket) => void
  readonly response: ServerResponse
}

/**
 * Lets go of what came with the upgrade: a session lasts for days, and through listeners of its socket it would hold the
 * request and the answer, Fastify's and Node's (6.5 KB), for as long. Whoever accepts it hears its errors.
 */
function releaseRequest(socket: WebSocket, request: IncomingMessage, response: ServerResponse): void {
  socket.removeAllListeners("error")
  socket.on("error", ignoreError)
  response.detachSocket(request.socket)
}

function ignoreError(): void {}

/** Operations that upgrade to a WebSocket. The router decides before the upgrade, so a refusal is a plain answer. */
function addSessions(app: FastifyInstance, options: EdgeOptions): void {
  for (const operation of options.operations.values()) {
    if (operation.effect !== "session") continue
    const accepted = new WeakMap<IncomingMessage, Accepted>()
    app.route({
      method: "GET",
      url: operation.path,
      preValidation: async (request, reply) => {
        if (!request.ws) throw new AppError("request.invalid-input", `${operation.name} needs a WebSocket upgrade`)
        const result = await callRouter(options, request, { reply, operation: operation.name, input: {} })
        if (result.effect === "session") accepted.set(request.raw, { accept: result.accept, response: reply.raw })
      },
      handler: () => undefined,
      wsHandler: (socket, request) => {
        const result = accepted.get(request.raw)
        if (!result) return socket.close()
        const opened = { socket: socket as unknown as WebSocket, stream: request.raw.socket }
        releaseRequest(opened.socket, request.raw, result.response)
        result.accept(opened)
      },
    })
  }
}

function addOperations(app: FastifyInstance, options: EdgeOptions): void {
  const paths = makeOperationPaths(
    [...options.operations.values()].filter((operation) => operation.effect !== "session"),
  )
  app.post<{ Params: { name: string } }>("/v1/operations/:name", async (request, reply) => {
    const { name } = request.params
    // The router names near matches of all there are; a listener of a few tells nothing of the others.
    if (options.onlyThese === true && !options.operations.has(name)) throw unknownPath(request.method, request.url)
    return respond(options, request, { reply, operation: name, input: request.body ?? {} })
  })
  app.route({
    method: ["GET", "POST", "PUT", "PATCH", "DELETE"],
    url: "/v1/*",
    handler: async (request, reply) => {
      const { operation, input } = readCall(paths, request)
      return respond(options, request, { reply, operation: operation.name, input })
    },
  })
}

function readCall(paths: OperationPaths, request: FastifyRequest): { operation: AnyOperation; input: unknown } {
  const path = request.url.split("?", 1)[0] ?? ""
  const match = paths.find(request.method, path)
  if (!match) {
    const methods = paths.methods(path)
    const hint = methods.length > 0 ? `; it takes ${methods.join(", ")}` : ""
    throw unknownPath(request.method, `${path.slice(0, 200)}${hint}`)
  }
  const fromBody = request.method !== "GET" && request.method !== "DELETE"
  const rest = (fromBody ? request.body : request.query) ?? {}
  if (typeof rest !== "object" || Array.isArray(rest))
    throw new AppError("request.invalid-input", "the body must be a JSON object")
  return { operation: match.operation, input: { ...(rest as object), ...match.fields } }
}

async function respond(
  options: EdgeOptions,
  request: FastifyRequest,
  call: { reply: FastifyReply; operation: string; input: unknown },
): Promise<FastifyReply> {
  const { reply } = call
  const result = await callRouter(options, request, call)
  void reply.header("x-request-id", request.id)
  if ("ruledBy" in result && result.ruledBy) void reply.header(rulesHeader, rulesText(result.ruledBy))
  if ("partial" in result && result.partial)
    void reply.header("signalbox-partial", result.partial.map(({ place, code }) => `${place}=${code}`).join(", "))
  if ("started" in result && result.started) setStarted(reply, result.started)
  switch (result.effect) {
    case "read":
      if (result.value instanceof RawContent) {
        const mediaType = options.operations.get(call.operation)?.rawOutput ?? "application/octet-stream"
        return sendRaw(request, reply, { content: result.value, mediaType })
      }
      return reply.send(result.value)
    case "change":
      if (result.reply.status === "held") return sendHeld(options, request, { reply, held: result.reply })
      if (result.repeated) void reply.header("idempotency-replayed", "true")
      return reply.send(result.reply.value)
    case "stream":
      reply.hijack()
      await writeEventStream(reply.raw, result.messages, { requestId: request.id, logger: options.logger })
      return reply
    case "session":
      throw new AppError("request.invalid-input", `${call.operation} needs a WebSocket upgrade`)
  }
}

function setStarted(reply: FastifyReply, started: Started): void {
  const text = startedText(started)
  if (text !== undefined) void reply.header(startedHeader, text)
}

/** Waits as long as the caller prefers: then the answer is the call's own, and 202 where it is still held. */
async function sendHeld(
  options: EdgeOptions,
  request: FastifyRequest,
  { reply, held }: { reply: FastifyReply; held: Held },
): Promise<FastifyReply> {
  const { ended, waited } = await waitForHeld(request.headers, held, (operation, input) =>
    callRouter(options, request, { reply, operation, input }),
  )
  if (waited !== undefined) void reply.header("preference-applied", `wait=${waited}`)
  if (ended?.state === "done") return reply.header("signalbox-approval", ended.request).send(ended.result)
  const error = ended && heldError(ended)
  if (error) throw error
  return reply.code(202).header("location", held.requestUrl).send(held)
}

async function callRouter(
  options: EdgeOptions,
  request: FastifyRequest,
  call: { reply: FastifyReply; operation: string; input: unknown },
): Promise<RouterReply> {
  const { reply } = call
  const token = tokenInInput(options, call) ?? bearerOf(request.headers)
  const wishes = readHoldWishes(request.headers)
  const key = request.headers["idempotency-key"]
  const lastEventId = request.headers["last-event-id"]
  const resumes = "cursor" in (options.operations.get(call.operation)?.input.shape ?? {})
  const resumed = typeof lastEventId === "string" && resumes
  return options.router.carryOut({
    operation: call.operation,
    input: resumed ? { ...(call.input as object), cursor: lastEventId } : call.input,
    requestId: request.id,
    sourceAddress: request.ip,
    signal: closedSignal(reply),
    ...(token ? { token } : {}),
    ...(typeof key === "string" ? { idempotencyKey: key } : {}),
    ...(wishes ? { wishes } : {}),
  })
}

/** The credential of programs that can send no header, such as those that show calendars. */
function tokenInInput(
  { operations }: EdgeOptions,
  { operation, input }: { readonly operation: string; readonly input: unknown },
): string | undefined {
  const member = operations.get(operation)?.tokenInput
  const token = member === undefined ? undefined : (input as Readonly<Record<string, unknown>>)[member]
  return typeof token === "string" ? token : undefined
}
