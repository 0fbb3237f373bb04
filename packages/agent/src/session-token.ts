import { randomUUID, type KeyObject } from "node:crypto"
// The whole library would cost the agent 8 MB of memory.
import { SignJWT } from "jose/jwt/sign"
import type { AgentIdentity } from "./agent-identity.ts"

/** Of a token for a WebSocket; no token is good for longer. */
export const tokenSeconds = 60

/** The bearer of one session or exchange: signed with the node's own key, used once, good for a minute at most. */
export async function signSessionToken(options: {
  readonly identity: AgentIdentity
  readonly privateKey: KeyObject
  readonly machineId: string
  /** Milliseconds of the server's clock, as far as it is known. */
  readonly now: number
  readonly lifeSeconds: number
}): Promise<string> {
  const issuedAt = Math.floor(options.now / 1000)
  return await new SignJWT({ account: options.identity.account, machineId: options.machineId })
    .setProtectedHeader({ alg: "EdDSA", kid: options.identity.node })
    .setSubject(options.identity.node)
    .setAudience("signalbox")
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + options.lifeSeconds)
    .setJti(randomUUID())
    .sign(options.privateKey)
}
