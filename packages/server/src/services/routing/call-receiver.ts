import { createPublicKey } from "node:crypto"
import { keyIdOf } from "@signalbox/attestation/signed-envelope"
import type { Clock } from "@signalbox/kernel/clock"
import type { CallReceiver, ForwardedCall } from "../../router/forwarded-call.ts"
import type { Caller } from "../../router/handler.ts"
import { findLivingKey } from "../../storage/server-lease.ts"
import type { Sql } from "../../storage/database.ts"
import { callBody, type CallBody } from "./call-body.ts"
import { callTokenLimits, keyIdOfToken, refused, verifyCallToken } from "./call-token.ts"

/**
 * Checks calls that other servers of the installation have let through. Owns the memory of the tokens that were used:
 * one token is one call. It is this process's own, and bounded by what a token's life lets in.
 */
export function createCallReceiver(options: {
  readonly sql: Sql
  readonly clock: Clock
  /** What this server is called in the routing map. */
  readonly destination: string
  /** Public keys (PEM) of other installations that may call here. */
  readonly trustedSigners: readonly string[]
}): CallReceiver {
  const used = new UsedCallTokens()
  const trusted = new Map(options.trustedSigners.map((pem) => [keyIdOf(createPublicKey(pem)), pem]))
  return {
    async receive({ operation, token, body, signal }) {
      if (token === undefined) throw refused("it carries no token")
      const keyId = keyIdOfToken(token)
      const foreign = trusted.get(keyId)
      const publicKey = foreign ?? (await findLivingKey(options.sql, keyId))
      if (publicKey === undefined)
        throw refused("its token is signed by no server that lives, and by none that is trusted")
      const now = options.clock.now()
      const { destination } = options
      const { jti, exp } = await verifyCallToken(token, publicKey, { destination, operation, body, now })
      if (!used.add(jti, { keepUntil: (exp + callTokenLimits.clockLeewaySeconds) * 1000, now }))
        throw refused("its token was used before, or too many calls come in")
      const read = callBody.safeParse(body)
      if (!read.success) throw refused("its body is not what this program version reads", read.error)
      const call = toForwardedCall(read.data, { operation, signal })
      // The requests of another installation are in its own database, and were asked for there.
      return foreign === undefined ? call : withoutRequest(call)
    },
  }
}

function toForwardedCall(
  { input, context }: CallBody,
  { operation, signal }: Pick<ForwardedCall, "operation" | "signal">,
): ForwardedCall {
  const { caller: sent, ...rest } = withoutUndefined(context)
  const caller = { ...withoutUndefined(sent), permissions: new Set(sent.permissions) } as unknown as Caller
  return { ...rest, operation, input, signal, caller } as ForwardedCall
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T
}

function withoutRequest(call: ForwardedCall): ForwardedCall {
  if (!call.once) return call
  const { approvalRequest: _, ...once } = call.once
  return { ...call, once }
}

export class UsedCallTokens {
  readonly #until = new Map<string, number>()

  /** False where the token was used before, or where too many are remembered. */
  add(id: string, { keepUntil, now }: { readonly keepUntil: number; readonly now: number }): boolean {
    // They come nearly in the order of their ends, so that looking at the oldest is enough.
    for (const [oldest, end] of this.#until) {
      if (end >= now) break
      this.#until.delete(oldest)
    }
    if (this.#until.has(id) || this.#until.size >= callTokenLimits.liveMax) return false
    this.#until.set(id, keepUntil)
    return true
  }
}
