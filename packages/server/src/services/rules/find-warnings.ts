import { ruleDefinition } from "@signalbox/contracts/rules/rule-document"
import type { Sql } from "../../storage/database.ts"
import type { RulesOptions } from "./options.ts"
import { namedKinds, referencesOf, type Reference, type RuleWarning, warningsOf } from "./rule-warnings.ts"

/**
 * What each of these definitions names and isn't there, in their order; nothing of one that this program can't read. One
 * query for each kind of thing that is named, however many rules there are.
 */
export async function findWarnings(
  { existing, external }: Pick<RulesOptions, "existing" | "external">,
  { sql, account }: { readonly sql: Sql; readonly account: string },
  definitions: readonly unknown[],
): Promise<RuleWarning[][]> {
  const references = definitions.map((definition) => {
    const parsed = ruleDefinition.safeParse(definition)
    return parsed.success ? referencesOf(parsed.data) : []
  })
  const all = references.flat()
  const found = new Map<string, ReadonlySet<string>>()
  for (const kind of namedKinds) {
    const names = [...new Set(all.filter((each) => each.kind === kind).map(({ name }) => name))]
    if (names.length > 0) found.set(kind, new Set(await existing[kind](sql, account, names)))
  }
  const isThere = ({ kind, name }: Pick<Reference, "kind" | "name">): boolean => {
    if (kind === "service") return external.find(account, name) !== undefined
    return found.get(kind)?.has(name) === true
  }
  return references.map((each) => warningsOf(each, isThere))
}
