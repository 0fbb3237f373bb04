/**
 * The addresses of hooks, to which others send webhooks. The bytes of the body go on as they came, since signatures are
 * over them; whoever is not known, and whatever can't be verified, is refused by the operation behind.
 */
import { hooksReceive } from "@signalbox/contracts/triggers/hooks"
import { triggerLimits } from "@signalbox/contracts/triggers/trigger-limits"
import { AppError } from "@signalbox/kernel/app-error"
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify"
import type { Router } from "../router/router.ts"

const hooksPath = "/hooks"
const callMillisecondsMax = 30_000

export async function addHookEntry(app: FastifyInstance, { router }: { router: Pick<Router, "carryOut"> }) {
  await app.register((hooks, _options, done) => {
    hooks.removeAllContentTypeParsers()
    hooks.addContentTypeParser(
      "*",
      { parseAs: "buffer", bodyLimit: triggerLimits.hookBodyBytesMax },
      (_request, body, parsed) => parsed(null, body),
    )
    hooks.post(`${hooksPath}/:token`, (request, reply) => receive(router, request, reply))
    done()
  })
}

async function receive(
  router: Pick<Router, "carryOut">,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { token } = request.params as { token: string }
  if (!Buffer.isBuffer(request.body)) throw new AppError("triggers.invalid-message", "the message has no body")
  const result = await router.carryOut({
    operation: hooksReceive.name,
    input: { token, body: request.body.toString("base64"), headers: headersOf(request) },
    token,
    requestId: request.id,
    // A message that comes again is known by its own id, whatever the sender calls the request.
    idempotencyKey: request.id,
    sourceAddress: request.ip,
    signal: AbortSignal.timeout(callMillisecondsMax),
  })
  if (result.effect !== "change" || result.reply.status !== "done") throw new Error("a message is taken or refused")
  return reply.code(202).header("x-request-id", request.id).send(result.reply.value)
}

function headersOf(request: FastifyRequest): Record<string, string> {
  return Object.fromEntries(
    Object.entries(request.headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Array.isArray(value) ? value.join(", ") : value]],
    ),
  )
}
