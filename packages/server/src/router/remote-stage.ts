import { assert } from "@signalbox/kernel/assert"
import { digestOf } from "./call-digest.ts"
import { fanOut, type FanOutPlace, type FanOutReply } from "./fan-out.ts"
import type { Elsewhere, ForwardedCall, ForwardedOnce, ForwardedReply } from "./forwarded-call.ts"
import type { StandingApproval } from "./ports.ts"
import type { Routed } from "./routed.ts"
import type { Destination, RemoteRoute } from "./routing-map.ts"

/**
 * The stage that takes the place of the handler where the map sends an operation to another process, or to several. All
 * stages before it have run here, and run nowhere else (D7).
 */
export interface RemoteStageOptions {
  readonly elsewhere: Pick<Elsewhere, "remote">
  readonly markSecretInput: (text: string) => string
}

export interface RemoteOnce {
  readonly key?: string
  readonly bodyHash?: string
  readonly isFollowed?: boolean
  readonly approval?: Pick<StandingApproval, "request">
}

/** A read. `here` answers it in this process. */
export async function answerElsewhere(
  options: RemoteStageOptions,
  routed: RemoteRouted,
  here: (routed: Routed) => Promise<unknown>,
): Promise<FanOutReply> {
  const { targets, merge } = routed.remote
  const [only] = targets
  if (merge === undefined) {
    assert(only !== undefined, "what has one target here is not remote")
    return { value: (await ask(options, routed, { to: only })).value }
  }
  const input = routed.input as Readonly<Record<string, unknown>>
  const { cursor } = input as { readonly cursor?: string }
  const places = placesOf(routed, ({ to, signal, cursor: own }) => {
    const context = { ...routed.context, signal }
    const asked = own === undefined ? routed : { ...routed, input: { ...input, cursor: own } }
    return to === undefined
      ? here({ ...asked, context })
      : ask(options, { ...asked, context, remote: routed.remote }, { to }).then(({ value }) => value)
  })
  return fanOut(places, { merge, cursor, signal: routed.context.signal })
}

/** A change: at one place, or at several with state of their own. `here` carries it out in this process. */
export async function changeElsewhere(
  options: RemoteStageOptions,
  routed: RemoteRouted,
  { once, here }: { readonly once: RemoteOnce; readonly here: () => Promise<ForwardedReply> },
): Promise<ForwardedReply & Pick<FanOutReply, "partial">> {
  const { targets, merge } = routed.remote
  const [only] = targets
  const carryOut = (to: Destination | undefined, signal: AbortSignal): Promise<ForwardedReply> =>
    to === undefined ? here() : ask(options, { ...routed, context: { ...routed.context, signal } }, { to, once })
  if (merge === undefined) return carryOut(only, routed.context.signal)
  const replies: Array<{ readonly place: string; readonly reply: ForwardedReply }> = []
  const places = placesOf(routed, async ({ to, signal, place }) => {
    const reply = await carryOut(to, signal)
    replies.push({ place, reply })
    return reply.value
  })
  const { partial, value } = await fanOut(places, { merge, cursor: undefined, signal: routed.context.signal })
  const started = replies.find(({ reply }) => reply.started)?.reply.started
  return {
    value,
    repeated: replies.every(({ reply }) => reply.repeated),
    ...(started ? { started } : {}),
    ...(partial ? { partial } : {}),
  }
}

export interface RemoteRouted extends Routed {
  readonly remote: RemoteRoute
}

export function isRemote(routed: Routed): routed is RemoteRouted {
  return routed.remote !== undefined
}

interface Asked {
  readonly to: Destination | undefined
  readonly place: string
  readonly signal: AbortSignal
  readonly cursor: string | undefined
}

function placesOf({ remote, handler }: RemoteRouted, askAt: (at: Asked) => Promise<unknown>): FanOutPlace[] {
  const { service } = handler.operation
  return remote.targets.map((to) => {
    const name = to === undefined ? service : `${service}@${to.name}`
    return { name, ask: (signal, cursor) => askAt({ to, place: name, signal, cursor }) }
  })
}

async function ask(
  options: RemoteStageOptions,
  routed: RemoteRouted,
  { to, once }: { readonly to: Destination; readonly once?: RemoteOnce },
): Promise<ForwardedReply> {
  const { handler, context, input, asked } = routed
  const { caller, requestId, cause, causedBy, depth, sourceAddress, signal } = context
  const { operation } = handler
  const call: ForwardedCall = {
    ...{ operation: operation.name, input, caller, requestId, cause, depth, signal },
    ...(causedBy === undefined ? {} : { causedBy }),
    ...(sourceAddress === undefined ? {} : { sourceAddress }),
    ...(once
      ? { once: onceOf(followedBy(routed, once), { asked, hash: () => digestOf(options, operation, asked ?? input) }) }
      : {}),
  }
  return options.elsewhere.remote.call(to, operation, call)
}

/** Which rules follow it was settled here, by the map that the call began with. */
function followedBy({ consults, messages }: RemoteRouted, once: RemoteOnce): RemoteOnce & Pick<Routed, "messages"> {
  const isFollowed = once.isFollowed === true && (consults === undefined || messages !== undefined)
  return { ...once, isFollowed, ...(messages && { messages }) }
}

function onceOf(
  { key, bodyHash, isFollowed, approval, messages }: RemoteOnce & Pick<Routed, "messages">,
  { asked, hash }: { readonly asked: unknown; readonly hash: () => string },
): ForwardedOnce {
  return {
    ...(key === undefined ? {} : { key }),
    bodyHash: bodyHash ?? hash(),
    isFollowed: isFollowed === true,
    ...(messages === undefined ? {} : { messages }),
    ...(approval === undefined ? {} : { approvalRequest: approval.request }),
    ...(asked === undefined ? {} : { asked }),
  }
}
