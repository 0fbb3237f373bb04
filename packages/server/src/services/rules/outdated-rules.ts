/** Rules that name operations of services outside which are there no more, or take what the rule says no more. */
import { permissions } from "@signalbox/contracts/identity/roles"
import { ruleDefinition, type RuleDefinition } from "@signalbox/contracts/rules/rule-document"
import type { ExternalServices } from "../../router/external-ports.ts"
import { namesOutside, type OutsideOperations } from "./check-outside.ts"
import { findRuleIssues } from "./check-rule.ts"
import type { Operations } from "./operation-pattern.ts"
import type { RuleRow } from "./rule-store.ts"

type External = Pick<ExternalServices, "list" | "find" | "findOperation">

export function outsideIn(external: External, account: string): OutsideOperations {
  return {
    list: () => external.list(account),
    find: (name) => external.findOperation(account, name)?.operation,
  }
}

const all = new Set(permissions)

/** Of so many rules it is remembered, since a list shows many: each takes half a millisecond. */
const rememberedMax = 10_000

interface Remembered {
  readonly version: number
  /** The services that it names, as they were. */
  readonly services: readonly unknown[]
  readonly outdated: string | undefined
}

/** Says of a rule what would be said if it were put now; undefined where nothing would. */
export type FindOutdated = (row: Pick<RuleRow, "account" | "id" | "version" | "definition">) => string | undefined

export function createFindOutdated(options: Options): FindOutdated {
  const known = new Map<string, Remembered>()
  return ({ account, id, version, definition }) => {
    const read = ruleDefinition.safeParse(definition)
    if (!read.success || !namesOutside(read.data)) return undefined
    const names = servicesOf(read.data)
    const services = names.map((name) => options.external.find(account, name))
    const before = known.get(id)
    const isSame =
      before?.version === version &&
      before.services.length === services.length &&
      before.services.every((service, index) => service === services[index])
    // A rule about the services of the account, whichever they are, is looked at anew.
    if (isSame && !names.includes("*")) return before.outdated
    const outdated = findFirst(options, account, read.data)
    if (known.size >= rememberedMax) known.clear()
    known.set(id, { version, services, outdated })
    return outdated
  }
}

interface Options {
  readonly operations: Operations
  readonly external: External
}

function servicesOf({ on = [], do: actions }: RuleDefinition): string[] {
  return [...on, ...actions].flatMap(({ operation = "" }) => /^ext\.([^.]+)/.exec(operation)?.[1] ?? [])
}

function findFirst({ operations, external }: Options, account: string, definition: RuleDefinition): string | undefined {
  const [first] = findRuleIssues(definition, { operations, permissions: all, outside: outsideIn(external, account) })
  return first && `${first.path}: ${first.message}`
}
