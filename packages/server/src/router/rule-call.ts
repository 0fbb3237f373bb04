import { withSecretsMarked } from "./call-digest.ts"
import type { Routed } from "./routed.ts"
import type { RuleCall } from "./rule-ports.ts"

/** A call as rules see it. */
export function ruleCallOf(
  marker: { readonly markSecretInput: (text: string) => string },
  { handler, context, input }: Routed,
): RuleCall {
  const { principal, kind, roles, teams } = context.caller
  return {
    account: context.account,
    operation: handler.operation.name,
    caller: { principal, kind, roles, ...(teams && { teams }) },
    input: withSecretsMarked(marker, handler.operation, input),
  }
}
