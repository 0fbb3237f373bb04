/**
 * Knows the tokens that agents sign with their nodes' keys. Owns the memory of tokens used: a token opens one session,
 * once. The memory is this process's own and bounded per node; a token lives at most 60 seconds, and travels inside TLS.
 */
import { createPublicKey } from "node:crypto"
import { permissionsOf } from "@signalbox/contracts/identity/roles"
import { AppError } from "@signalbox/kernel/app-error"
import { compactVerify, decodeProtectedHeader } from "jose"
import { z } from "zod"
import type { Authenticator } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import { agentTokenLimits, findTimeFault, isNodeId } from "./model.ts"
import { UsedTokens } from "./used-tokens.ts"
import { findAgentKey } from "./session-store.ts"

export const agentTokenAudience = "signalbox"

const claims = z.object({
  sub: z.string(),
  account: z.string().min(1).max(64),
  aud: z.literal(agentTokenAudience),
  iat: z.number(),
  exp: z.number(),
  jti: z.string().min(8).max(64),
  machineId: z.string().min(1).max(128),
})

const permissions = permissionsOf(["agent"])

/** @throws fleet.agent-identity-refused, fleet.node-held for what looks like an agent's token */
export function createAgentAuthenticator(sql: Sql): Authenticator {
  const used = new UsedTokens()
  return {
    async authenticate({ token, now }) {
      const nodeId = findKeyId(token)
      if (nodeId === undefined) return undefined
      const given = readClaims(token)
      if (given.sub !== nodeId) throw refused(nodeId, "its subject is not the node of its key")
      const known = await findAgentKey(sql, given.account, nodeId)
      if (!known) throw refused(nodeId, "no such node is enrolled")
      await verify(token, known.publicKey, nodeId)
      const fault = findTimeFault(given, now)
      if (fault !== undefined) throw refused(nodeId, fault)
      const keepUntil = (given.exp + agentTokenLimits.clockLeewaySeconds) * 1000
      if (!used.add({ nodeId, tokenId: given.jti, keepUntil, now }))
        throw refused(nodeId, "the token was used before, or the node shows too many")
      if (known.heldAt !== null) throw new AppError("fleet.node-held", `${nodeId} is held: two machines use its key`)
      return { account: given.account, principal: `node:${nodeId}`, kind: "agent", roles: ["agent"], permissions }
    },
  }
}

/** The key id of a JWT; undefined where the text is none of ours. */
function findKeyId(token: string): string | undefined {
  if (token.split(".").length !== 3) return undefined
  try {
    const { kid } = decodeProtectedHeader(token)
    return kid !== undefined && isNodeId(kid) ? kid : undefined
  } catch {
    return undefined
  }
}

/** Not trusted until the signature over them is verified. */
function readClaims(token: string): z.output<typeof claims> {
  try {
    const payload = Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8")
    const read = claims.parse(JSON.parse(payload))
    if (read.account.includes("\0")) throw new Error("the account is no id")
    return read
  } catch (cause) {
    throw new AppError("fleet.agent-identity-refused", "the agent's token lacks claims it must have", { cause })
  }
}

/** The signature only; the times are checked against the injected clock. */
async function verify(token: string, publicKey: string, nodeId: string): Promise<void> {
  const key = createPublicKey({ key: Buffer.from(publicKey, "base64"), format: "der", type: "spki" })
  try {
    await compactVerify(token, key, { algorithms: ["EdDSA"] })
  } catch (cause) {
    throw refused(nodeId, "its signature doesn't verify", cause)
  }
}

const refused = (nodeId: string, why: string, cause?: unknown) =>
  new AppError("fleet.agent-identity-refused", `the token of ${nodeId} is refused: ${why}`, { cause })
