import type { Database } from "../storage/database.ts"
import { digestOf } from "./call-digest.ts"
import { writeRefusalRecord } from "./change-record.ts"
import { findRoleRefusal } from "./external-handler.ts"
import { findRefusal } from "./find-refusal.ts"
import type { Route } from "./find-route.ts"
import type { ReadContext } from "./handler.ts"

/** The stage that says whether a caller may call an operation at all; a change that is refused goes on record. */
export async function authorize(
  options: { readonly database: Database; readonly markSecretInput: (text: string) => string },
  { handler, outside }: Route,
  call: { readonly context: ReadContext; readonly rawInput: unknown },
): Promise<void> {
  const { operation } = handler
  const { context } = call
  const refusal =
    findRefusal(operation, context.caller) ?? (outside && findRoleRefusal(outside.operation, context.caller))
  if (!refusal) return
  if (handler.effect === "change") {
    await writeRefusalRecord(options.database, {
      ...context,
      operation: operation.name,
      inputDigest: digestOf(options, operation, call.rawInput),
      outcome: refusal.code,
    })
  }
  throw refusal
}
