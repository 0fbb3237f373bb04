/** Rules that name operations of services outside which are there no more, or take what the rule says no more. Pure. */
import { permissions } from "@signalbox/contracts/identity/roles"
import { ruleDefinition } from "@signalbox/contracts/rules/rule-document"
import type { ExternalServices } from "../../router/external-ports.ts"
import { namesOutside, type OutsideOperations } from "./check-outside.ts"
import { findRuleIssues } from "./check-rule.ts"
import type { Operations } from "./operation-pattern.ts"
import type { RuleRow } from "./rule-store.ts"

type External = Pick<ExternalServices, "list" | "findOperation">

export function outsideIn(external: External, account: string): OutsideOperations {
  return {
    list: () => external.list(account),
    find: (name) => external.findOperation(account, name)?.operation,
  }
}

const all = new Set(permissions)

/** What would be said if it were put now; undefined where nothing would. */
export function findOutdated(
  { operations, external }: { readonly operations: Operations; readonly external: External },
  { account, definition }: Pick<RuleRow, "account" | "definition">,
): string | undefined {
  const read = ruleDefinition.safeParse(definition)
  if (!read.success || !namesOutside(read.data)) return undefined
  const [first] = findRuleIssues(read.data, { operations, permissions: all, outside: outsideIn(external, account) })
  return first && `${first.path}: ${first.message}`
}
