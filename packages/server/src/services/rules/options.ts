import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import type { ExternalServices } from "../../router/external-ports.ts"
import type { OperationCaller, PrincipalDirectory } from "../../router/ports.ts"
import type { Database, Sql } from "../../storage/database.ts"
import type { Expanders } from "../../storage/outbox.ts"
import type { Operations } from "./operation-pattern.ts"
import type { FindOutdated } from "./outdated-rules.ts"
import type { RuleDirectory } from "./rule-directory.ts"
import type { NamedKind } from "./rule-warnings.ts"

/** Which of these names are there. */
export type NameFinder = (sql: Sql, account: string, names: readonly string[]) => Promise<readonly string[]>

/** What the service is given. */
export interface RulesOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** All that this program declares: what conditions and inputs are checked against. */
  readonly operations: Operations
  /** What is registered of services outside. */
  readonly external: Pick<ExternalServices, "list" | "find" | "findOperation">
  /** How other services are asked. */
  readonly caller: OperationCaller
  readonly principals: PrincipalDirectory
  /** How to read events that stand for a batch. */
  readonly expanders: Expanders
  /** What rules may name, of other services. */
  readonly existing: Readonly<Record<NamedKind, NameFinder>>
  readonly configurationChanged: () => void | Promise<void>
}

/** What its parts are given. */
export interface RulesContext extends RulesOptions {
  readonly findOutdated: FindOutdated
  readonly directory: RuleDirectory
}
