import type { Service } from "../../router/handler.ts"
import { actionPoller, actionTasks } from "./background.ts"
import { actionHandlers } from "./handlers.ts"
import { heldConsumer } from "./held-runs.ts"
import type { ActionsOptions } from "./options.ts"
import { ActionPerformer } from "./performer.ts"
import { removedConsumer } from "./removed-rules.ts"
import { ruleConsumer } from "./take-events.ts"
import { messageConsumer } from "./take-messages.ts"

export type { ActionsOptions } from "./options.ts"

/** What happens after a rule has matched: storm control, correlation, and runs of its actions. */
export function createActionsService(options: ActionsOptions): Service {
  const performer = new ActionPerformer(options)
  const context = { ...options, performer }
  const poller = actionPoller(context)
  return {
    name: "actions",
    handlers: actionHandlers(context),
    consumers: [ruleConsumer(context), messageConsumer(options), heldConsumer(options), removedConsumer(options)],
    cronTasks: actionTasks(context),
    workers: {
      start() {
        performer.start()
        poller.start()
      },
      async stop() {
        await poller.stop()
        await performer.stop()
      },
    },
  }
}
