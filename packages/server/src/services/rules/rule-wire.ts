/** Rules as they are shown. Pure. */
import type { OutputOf } from "@signalbox/contracts/operation"
import type { rulesGet } from "@signalbox/contracts/rules/operations"
import { ruleDefinition, type RuleDefinition } from "@signalbox/contracts/rules/rule-document"
import { toInstant } from "@signalbox/kernel/clock"
import type { RuleRow } from "./rule-store.ts"

type Rule = OutputOf<typeof rulesGet>

export function toRule(row: RuleRow, broken: string | undefined): Rule {
  const { faultAt, faultMessage, faultsCount } = row
  return {
    id: row.id,
    name: row.name,
    ...definitionOf(row),
    enabled: row.enabled,
    version: row.version,
    author: row.author,
    createdAt: toInstant(row.createdAt),
    changedAt: toInstant(row.changedAt),
    ...(broken === undefined ? {} : { broken }),
    ...(faultAt === null
      ? {}
      : { lastFault: { at: toInstant(faultAt), message: faultMessage ?? "", count: faultsCount } }),
  }
}

/** Of a rule that this program can't read: as it is. */
function definitionOf({ definition }: RuleRow): RuleDefinition {
  const parsed = ruleDefinition.safeParse(definition)
  return parsed.success ? parsed.data : (definition as RuleDefinition)
}
