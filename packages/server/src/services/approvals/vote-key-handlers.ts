import { readStatement } from "@signalbox/attestation/signed-envelope"
import { findPublicKey } from "@signalbox/attestation/vote-key"
import { signatureLimits, voteKeyClaim, voteKeyClaimType } from "@signalbox/contracts/approvals/signed-votes"
import { voteKeysAdd, voteKeysList, voteKeysRevoke } from "@signalbox/contracts/approvals/vote-keys"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import { nameAfter, pageOfRows } from "./configuration-change.ts"
import { parseEnvelope, refused } from "./member-signature.ts"
import type { ApprovalsContext } from "./options.ts"
import { personOf, requesterOfCaller } from "./people.ts"
import { toPerson } from "./request-wire.ts"
import {
  countVoteKeys,
  insertVoteKey,
  listVoteKeys,
  lockVoteKey,
  revokeVoteKey,
  type VoteKeyRow,
} from "./vote-key-store.ts"

type VoteKey = OutputOf<typeof voteKeysAdd>

export function voteKeyHandlers(context: ApprovalsContext): Handler[] {
  return [
    onChange(voteKeysAdd, (input, ctx) => add(context, input, ctx)),
    onRead(voteKeysList, async ({ cursor, limit, mine }, { sql, account, caller }) => {
      const member = mine === "true" ? caller.principal : undefined
      const rows = await listVoteKeys(sql, account, { after: nameAfter(cursor), limit: limit + 1, member })
      return pageOfRows(rows, limit, { keyOf: ({ id }) => id, toItem: toVoteKey })
    }),
    onChange(voteKeysRevoke, async ({ voteKey }, ctx) => {
      const { caller, now } = ctx
      const row = await lockVoteKey(ctx.tx, ctx.account, voteKey)
      const mayRevoke = row?.member.key === caller.principal || caller.permissions.has("approvals.write")
      if (!row || !mayRevoke)
        throw new AppError("approvals.vote-key-not-found", `there is no key "${voteKey}" that you could revoke`)
      if (row.revokedAt !== null) return toVoteKey(row)
      const revoked = await revokeVoteKey(ctx.tx, row, { principal: caller.principal, now })
      emit(ctx, revoked, "vote-key.revoked")
      return toVoteKey(revoked)
    }),
  ]
}

async function add(context: ApprovalsContext, input: InputOf<typeof voteKeysAdd>, ctx: ChangeContext) {
  const { account, caller, now } = ctx
  const id = checkProof(input, ctx)
  if ((await countVoteKeys(ctx.tx, account)) >= signatureLimits.voteKeysMax)
    throw new AppError("approvals.too-many", `an account has ${signatureLimits.voteKeysMax} keys for votes at most`)
  const row = await insertVoteKey(ctx.tx, {
    ...{ account, id, publicKey: input.publicKey, note: input.note ?? null, createdAt: now },
    member: personOf(requesterOfCaller(context.principals, caller, now)),
  })
  if (!row) throw new AppError("approvals.vote-key-exists", `the key ${id} is registered already`)
  emit(ctx, row, "vote-key.added")
  return toVoteKey(row)
}

/** Whether the caller has the private half. Gives the key's id. @throws approvals.signature-refused */
function checkProof({ publicKey, proof }: InputOf<typeof voteKeysAdd>, ctx: ChangeContext): string {
  const key = findPublicKey(publicKey)
  const read = key && readStatement(parseEnvelope(proof), voteKeyClaimType, [key])
  const claim = voteKeyClaim.safeParse(read?.statement)
  if (!read || !claim.success) throw refused("the key itself did not sign the proof")
  const { account, principal, at } = claim.data
  if (claim.data.publicKey !== publicKey || account !== ctx.account || principal !== ctx.caller.principal)
    throw refused("the proof is of another key, account or principal")
  if (Math.abs(ctx.now - Date.parse(at)) > signatureLimits.clockSkewMilliseconds)
    throw refused(`the proof was signed at ${at}, and now it is ${toInstant(ctx.now)}`)
  return read.keyId
}

function emit(ctx: ChangeContext, { id, version, member }: VoteKeyRow, type: string): void {
  ctx.emit({ aggregate: id, type, subject: id, version, data: { member } })
}

function toVoteKey(row: VoteKeyRow): VoteKey {
  return {
    ...{ id: row.id, member: toPerson(row.member), publicKey: row.publicKey },
    ...(row.note === null ? {} : { note: row.note }),
    state: row.revokedAt === null ? "active" : "revoked",
    ...{ version: row.version, createdAt: toInstant(row.createdAt) },
    ...(row.revokedAt === null ? {} : { revokedAt: toInstant(row.revokedAt) }),
    ...(row.revokedBy === null ? {} : { revokedBy: row.revokedBy }),
  }
}
