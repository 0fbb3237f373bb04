import { createHash } from "node:crypto"
import type { AnyOperation } from "@signalbox/contracts/operation"
import type { ReadContext } from "../../router/handler.ts"
import { writeRefusalRecord } from "../../router/change-record.ts"
import type { UserRow } from "./user-store.ts"

/**
 * Puts a refused login on record under the user's id, where there is such a user: names that nobody has may be passwords
 * that were typed in the wrong place. The limits of attempts bound how many of these there are.
 */
export async function recordRefusedLogin(
  ctx: ReadContext,
  { operation, user }: { readonly operation: AnyOperation; readonly user: UserRow | undefined },
): Promise<void> {
  if (!user) return
  await writeRefusalRecord(ctx.sql, {
    ...ctx,
    operation: operation.name,
    inputDigest: createHash("sha256").update(`${operation.name}\0${user.id}`).digest("hex"),
    outcome: "identity.login-refused",
    subject: user.id,
  })
}
