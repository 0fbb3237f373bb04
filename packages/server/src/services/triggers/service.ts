import type { Service } from "../../router/handler.ts"
import type { Authenticator } from "../../router/ports.ts"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import { removalTask } from "../../storage/removal-task.ts"
import { triggerLimits } from "@signalbox/contracts/triggers/trigger-limits"
import { signalsComponent } from "./definition-change.ts"
import { createHookAuthenticator } from "./hook-authenticator.ts"
import { hookHandlers } from "./hook-handlers.ts"
import { nodeSignalsHandler } from "./node-signals.ts"
import type { TriggersOptions } from "./options.ts"
import { nodesConsumer, nodeTagsChannel, signalClock, signalsConsumer, signalTasks } from "./signal-background.ts"
import { SignalDirectory } from "./signal-directory.ts"
import { signalHandlers } from "./signal-handlers.ts"
import { SignalWatcher } from "./signal-watcher.ts"
import { StateWriter } from "./state-writer.ts"
import { triggerHandlers } from "./trigger-handlers.ts"

export { findDefinitionNames } from "./definition-store.ts"
export { sealedHookSecrets } from "./hook-store.ts"

export interface TriggersService {
  readonly service: Service
  readonly listener: ConfigurationListener
  readonly authenticator: Authenticator
}

/** What makes events for rules: signals of nodes, webhooks that come in, and triggers that are fired by name. */
export function createTriggersService(options: TriggersOptions): TriggersService {
  const { database, clock, notifier, metrics } = options
  const directory = new SignalDirectory(database)
  const writer = new StateWriter(options, directory)
  const watcher = new SignalWatcher(options, { directory, writer })
  const parts = { options, directory, writer, watcher }
  const signals = signalClock(parts)
  metrics.listen(watcher)
  let unsubscribe = (): void => {}
  return {
    service: {
      name: "triggers",
      handlers: [
        ...signalHandlers(options, watcher),
        ...hookHandlers(options),
        ...triggerHandlers(options),
        nodeSignalsHandler(options, parts),
      ],
      consumers: [nodesConsumer(parts), signalsConsumer(parts)],
      cronTasks: [
        ...signalTasks(() => clock.now()),
        removalTask({
          name: "triggers.hook-messages-retention",
          cron: "53 * * * *",
          now: () => clock.now(),
          keptMilliseconds: triggerLimits.hookMessagesKeptMilliseconds,
          statement: `delete from hook_messages where (hook_id, message) in (
            select hook_id, message from hook_messages where received_at < to_timestamp($1::float8 / 1000) limit $2)
            returning 1`,
        }),
      ],
      start: () => {
        unsubscribe = notifier.subscribe(nodeTagsChannel, (nodeIds) => {
          if (nodeIds === "missed") watcher.lookAtAll()
          else watcher.look(nodeIds)
        })
        signals.start()
        return Promise.resolve()
      },
      async stop() {
        unsubscribe()
        await signals.stop()
        await watcher.stop()
      },
    },
    listener: {
      component: signalsComponent,
      async load(account) {
        await directory.load(account)
        watcher.lookAtAccount(account)
      },
    },
    authenticator: createHookAuthenticator(database),
  }
}
