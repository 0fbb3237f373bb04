import { hooksGet } from "@signalbox/contracts/triggers/hooks"
import { triggersGet } from "@signalbox/contracts/triggers/named-triggers"
import { signalsGet } from "@signalbox/contracts/triggers/signals"
import { templatesGet } from "@signalbox/contracts/approvals/templates"
import { workflowsGet } from "@signalbox/contracts/workflows/operations"
import { findTemplateNames } from "../services/approvals/service.ts"
import type { RoutingTable } from "../services/routing/service.ts"
import type { NameFinder, createRulesService } from "../services/rules/service.ts"
import { findDefinitionNames } from "../services/triggers/service.ts"
import { findWorkflowNames } from "../services/workflows/service.ts"

type NameFinders = Parameters<typeof createRulesService>[0]["existing"]

/** What rules may name. What another installation keeps can't be looked up here, and counts as there. */
export function makeNameFinders(table: RoutingTable): NameFinders {
  const unlessElsewhere =
    (operation: { readonly name: string }, find: NameFinder): NameFinder =>
    async (sql, account, names) => {
      const remote = table.current().remote.get(operation.name)
      return remote?.targets.some((to) => to?.hasOwnState) ? names : find(sql, account, names)
    }
  const definitions =
    (of: "signals" | "hooks" | "named_triggers"): NameFinder =>
    (sql, account, names) =>
      findDefinitionNames(sql, of, { account, names })
  return {
    signal: unlessElsewhere(signalsGet, definitions("signals")),
    hook: unlessElsewhere(hooksGet, definitions("hooks")),
    trigger: unlessElsewhere(triggersGet, definitions("named_triggers")),
    workflow: unlessElsewhere(workflowsGet, findWorkflowNames),
    template: unlessElsewhere(templatesGet, findTemplateNames),
  }
}
