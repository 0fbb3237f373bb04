import { createHash } from "node:crypto"
import { AppError } from "@signalbox/kernel/app-error"
import { refusalOf, withStory } from "./external-change.ts"
import type { ExternalInput, ExternalOperation, FoundExternal } from "./external-ports.ts"
import { pathAndQueryOf, requestOf } from "./external-request.ts"
import type { CallPlan, Caller, Handler, ReadContext } from "./handler.ts"

/** An operation of a service outside as the router's stages see it. */
export function outsideHandler(outside: FoundExternal): Handler {
  const { declaration: operation, effect } = outside.operation
  if (effect === "read") {
    return {
      operation,
      effect,
      run: (input: ExternalInput, context: ReadContext) => read(outside, input, context),
    } as Handler
  }
  return {
    operation,
    effect,
    plan: (input: ExternalInput) => Promise.resolve(planOf(outside, input)),
    run: () => Promise.reject(new Error(`${operation.name} is carried out elsewhere`)),
  } as Handler
}

/** @throws as `requestOf` and `ExternalService.send` say, gateway.service-*, gateway.reply-too-large */
async function read(outside: FoundExternal, input: ExternalInput, context: ReadContext): Promise<unknown> {
  const request = requestOf(outside.operation, input)
  const headers = withStory(request, context)
  const reply = await outside.service.send({ ...request, headers }, { signal: context.signal, mayRepeat: true })
  const refusal = refusalOf(outside, reply)
  if (refusal) throw refusal
  if (reply.bodyOmitted === undefined) return reply
  const { name, method } = outside.operation
  throw new AppError("gateway.reply-too-large", `the reply of ${name} is too long: call ${method} /x/ and its path`)
}

/**
 * What is voted on: the request in its canonical form, and the version of the service that it was made for. Where the call
 * has secrets they are hidden, and the digest of its body is left out, which could be tried out: the input beside it has
 * marks that bind them.
 */
function planOf({ service, operation }: FoundExternal, input: ExternalInput): CallPlan {
  const { method, path: sent, body } = requestOf(operation, input)
  const shown = (operation.declaration.replaceSecrets?.(input, () => hidden) ?? input) as ExternalInput
  const isWhole = shown === input
  const path = isWhole ? sent : pathAndQueryOf(operation, shown)
  const plan = {
    ...{ service: service.name, serviceVersion: service.version, method, path },
    ...(body && isWhole && { bodySha256: createHash("sha256").update(body).digest("hex"), bodyBytes: body.length }),
  }
  return { input, plan, title: `${method} ${path} of ${service.name}` }
}

const hidden = "***"

/** Why only some may call it. Pure. */
export function findRoleRefusal(
  { name, roles }: Pick<ExternalOperation, "name" | "roles">,
  caller: Caller,
): AppError | undefined {
  if (!roles || roles.some((role) => caller.roles.includes(role))) return undefined
  const message = `${name} is called by ${roles.join(", ")}, and ${caller.principal} is none`
  return new AppError("gateway.role-required", message, { details: { roles } })
}
