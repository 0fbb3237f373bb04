import type { RuleMatcher } from "../../router/rule-ports.ts"
import type { Service } from "../../router/handler.ts"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import { removalTask } from "../../storage/removal-task.ts"
import { createFaultBook } from "./fault-book.ts"
import type { RulesContext, RulesOptions } from "./options.ts"
import { createFindOutdated } from "./outdated-rules.ts"
import { ownSchedulesConsumer } from "./own-schedules.ts"
import { createRuleDirectory } from "./rule-directory.ts"
import { ruleHandlers } from "./rule-handlers.ts"
import { removeVersionsStatement } from "./rule-store.ts"
import { testHandlers } from "./test-handlers.ts"

export type { NameFinder } from "./options.ts"

/** Versions that are in force no more are kept so long: what they started is performed as it was announced. */
const versionsKeptMilliseconds = 30 * 86_400_000

/** What has to happen before and after operations, and because of events. */
export function createRulesService(options: RulesOptions): {
  readonly service: Service
  readonly matcher: RuleMatcher
  readonly listener: ConfigurationListener
} {
  const { database, clock, logger, operations } = options
  const faults = createFaultBook({ database, clock, logger })
  const directory = createRuleDirectory({ sql: database, operations, faults })
  const context: RulesContext = { ...options, directory, findOutdated: createFindOutdated(options) }
  const retention = removalTask({
    name: "rules.versions-retention",
    cron: "41 3 * * *",
    now: () => clock.now(),
    keptMilliseconds: versionsKeptMilliseconds,
    statement: removeVersionsStatement,
  })
  return {
    matcher: directory,
    listener: directory.listener,
    service: {
      name: "rules",
      handlers: [...ruleHandlers(context), ...testHandlers(context)],
      consumers: [ownSchedulesConsumer(options)],
      cronTasks: [retention],
      start: () => Promise.resolve(faults.start()),
      stop: () => faults.stop(),
    },
  }
}
