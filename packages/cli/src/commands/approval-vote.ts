import { createHash } from "node:crypto"
import { signMemberVote } from "@signalbox/attestation/member-vote"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import type { MemberVote } from "@signalbox/contracts/approvals/signed-votes"
import { authWhoami } from "@signalbox/contracts/identity/operations"
import type { AnyOperation } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { toInstant } from "@signalbox/kernel/clock"
import type { Client } from "@signalbox/sdk/client"
import type { CommandContext } from "../command.ts"
import type { OperationOverride } from "../generated/operation-override.ts"
import { runOperation } from "../generated/run-operation.ts"
import { readVoteKey, signingFileOf, signingOption } from "./approval-keys.ts"

interface VoteInput {
  readonly request: string
  readonly digest: string
  readonly level?: number
}

/** A vote by command: signed where a key is given, with the digest that the content really has. */
export function voteOverride(operation: AnyOperation, choice: MemberVote["choice"]): OperationOverride {
  return {
    words: ["approvals", choice],
    extend: (command) => command.option(...signingOption),
    run: async (context, input: VoteInput & Record<string, unknown>) => {
      const signed = await sign(context, input, choice)
      return await runOperation(context, operation, { input: { ...input, ...signed }, override: {} })
    },
  }
}

async function sign(
  context: CommandContext,
  input: VoteInput,
  choice: MemberVote["choice"],
): Promise<{ level?: number; signature?: string }> {
  const path = signingFileOf(context)
  if (path === undefined) return {}
  const key = await readVoteKey(path)
  const client = await context.client()
  const { account, principal: voter } = await client.call(authWhoami, {})
  const { request, digest } = input
  const level = await checkWhatIsSigned(client, input)
  const vote = { account, request, level, voter, choice, digest, at: toInstant(Date.now()) }
  return { level, signature: JSON.stringify(signMemberVote(key, vote)) }
}

/** Nothing is signed whose content is another than the digest says. Gives the level. @throws approvals.content-changed */
async function checkWhatIsSigned(client: Client, { request, digest, level }: VoteInput): Promise<number> {
  const shown = await client.call(approvalRequestsGet, { request })
  const found = createHash("sha256")
    .update(canonicalJson(shown.content ?? null))
    .digest("hex")
  if (found !== digest)
    throw new AppError("approvals.content-changed", `the content of ${request} has the digest ${found}, not ${digest}`)
  const open = level ?? shown.level?.number
  if (open === undefined)
    throw new AppError("approvals.request-ended", `no level of ${request} is open: it is ${shown.state}`)
  return open
}
