import { limits } from "@signalbox/contracts/schemas"
import type { FastifyInstance } from "fastify"
import { forwardedCallPath, type CallReceiver } from "../router/forwarded-call.ts"
import type { Router } from "../router/router.ts"
import { bearerOf } from "./bearer.ts"
import { closedSignal } from "./listener.ts"

/** What a call carries beside its input: who calls, and why. */
const contextBytesMax = 256 * 1024

/** Where a server that is a destination takes calls which another one has let through. Not part of the API. */
export function addForwardedCalls(
  app: FastifyInstance,
  { router, receiver }: { readonly router: Router; readonly receiver: CallReceiver },
): void {
  app.post<{ Params: { operation: string } }>(
    `${forwardedCallPath}/:operation`,
    { bodyLimit: limits.bodyBytesMax + contextBytesMax },
    async (request, reply) => {
      const { operation } = request.params
      const call = await receiver.receive({
        ...{ operation, token: bearerOf(request.headers), body: request.body },
        signal: closedSignal(reply),
      })
      const answer = await router.carryOutForwarded(call)
      return reply.send({ operation, requestId: call.requestId, ...answer })
    },
  )
}
