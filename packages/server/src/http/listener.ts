import { createHash } from "node:crypto"
import type { RequestListener } from "node:http"
import helmet from "@fastify/helmet"
import rateLimit from "@fastify/rate-limit"
import { problemMediaType } from "@signalbox/contracts/problem"
import { limits } from "@signalbox/contracts/schemas"
import { AppError } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import {
  fastify,
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from "fastify"
import { toAppError, type Router } from "../router/router.ts"
import { bearerOf } from "./bearer.ts"
import { ExternalFront } from "./external-front.ts"
import { createFrontServer } from "./front-server.ts"
import { OpenSockets } from "./open-sockets.ts"
import { toProblem } from "./problem.ts"

/** What all listeners have: TLS, limits of size, time and rate, request ids, and refusals in our words. */
export interface ListenerOptions {
  readonly clock: Clock
  readonly random: Random
  readonly logger: FastifyBaseLogger
  readonly tls?: { readonly certPem: string; readonly keyPem: string }
  /** Calls a second that one key (or, without one, one address) may make. */
  readonly callsPerSecondMax: number
  /** Present where services outside are called here. */
  readonly external?: ExternalFront
}

const requestTimeoutMilliseconds = 60_000
/** Made-up keys each get a limit of their own; together they get no more than so many real ones. */
const keysPerAddress = 20

export async function createListener(options: ListenerOptions): Promise<FastifyInstance> {
  const app = fastify({
    loggerInstance: options.logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: limits.bodyBytesMax,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 512 },
    genReqId: () => newId("request", options.clock, options.random),
    serverFactory: (handler: RequestListener) =>
      createFrontServer(handler, {
        requestTimeoutMilliseconds,
        ...(options.tls && { tls: options.tls }),
        ...(options.external && { external: options.external }),
      }),
  } as object) as unknown as FastifyInstance
  const sockets = new OpenSockets(app.server)
  app.addHook("preClose", () => Promise.resolve(sockets.endSoon()))
  app.setErrorHandler((error, request, reply) => sendError(reply, request, fromFastify(error)))
  app.setNotFoundHandler((request, reply) => sendError(reply, request, unknownPath(request.method, request.url)))
  await app.register(helmet, { contentSecurityPolicy: false })
  await app.register(rateLimit, {
    max: options.callsPerSecondMax,
    timeWindow: 1000,
    keyGenerator: limitKey,
    errorResponseBuilder: (_request, context) =>
      new AppError("request.rate-limited", `more than ${context.max} calls in a second`),
  })
  const limitAddress = app.createRateLimit({
    max: options.callsPerSecondMax * keysPerAddress,
    timeWindow: 1000,
    keyGenerator: (request) => request.ip,
  })
  app.addHook("onRequest", async (request) => {
    const limit = await limitAddress(request)
    if (!limit.isAllowed && limit.isExceeded) {
      throw new AppError("request.rate-limited", `more than ${limit.max} calls in a second from one address`)
    }
  })
  return app
}

export function createExternalFront(options: ListenerOptions, router: Router): ExternalFront {
  const { clock, random, logger, callsPerSecondMax, tls } = options
  return new ExternalFront({
    ...{ router, clock, random, logger, callsPerSecondMax },
    callsPerAddressMax: callsPerSecondMax * keysPerAddress,
    protocol: tls ? "https" : "http",
  })
}

export function unknownPath(method: string, path: string): AppError {
  return new AppError("routing.unknown-path", `nothing answers ${method} ${path.slice(0, 300)}`)
}

function limitKey(request: FastifyRequest): string {
  const token = bearerOf(request.headers)
  return token ? createHash("sha256").update(token).digest("base64") : request.ip
}

/** Aborted when the client's connection closes before the answer is out, so that streams and long reads end with it. */
export function closedSignal(reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once("close", () => controller.abort())
  return controller.signal
}

function sendError(reply: FastifyReply, request: FastifyRequest, error: AppError): FastifyReply {
  const problem = toProblem(error, request.id)
  if (problem.status >= 500)
    request.log.error({ err: error.cause ?? error, requestId: request.id, code: error.code }, error.message)
  return reply
    .code(problem.status)
    .header("x-request-id", request.id)
    .type(problemMediaType)
    .send(JSON.stringify(problem))
}

/** Fastify's own refusals, in our words. */
export function fromFastify(error: unknown): AppError {
  const { code, statusCode, message } = error as { code?: string; statusCode?: number; message?: string }
  switch (code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return new AppError("request.body-too-large", `the body is over ${limits.bodyBytesMax} bytes`)
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return new AppError("request.unsupported-media-type", "the body is not application/json")
    case "FST_ERR_CTP_EMPTY_JSON_BODY":
    case "FST_ERR_CTP_INVALID_JSON_BODY":
      return new AppError("request.invalid-json", "the body is not valid JSON")
    default:
      break
  }
  if (error instanceof SyntaxError && statusCode === 400)
    return new AppError("request.invalid-json", `the body is not valid JSON: ${message}`)
  return toAppError(error)
}
