import type { Service } from "../../router/handler.ts"
import { notificationTasks } from "./background.ts"
import { channelHandlers } from "./channel-handlers.ts"
import { deliverTask } from "./deliver.ts"
import { deliveryHandlers } from "./delivery-handlers.ts"
import { eventConsumer, requestConsumer } from "./notify.ts"
import type { NotificationsOptions } from "./options.ts"
import { sendHandler } from "./send-handler.ts"
import { subscriptionHandlers } from "./subscription-handlers.ts"

export type { NotificationsOptions } from "./options.ts"

/** Tells people and programs of events: channels, subscriptions, deliveries. */
export function createNotificationsService(options: NotificationsOptions): { readonly service: Service } {
  return {
    service: {
      name: "notifications",
      handlers: [
        ...channelHandlers(options),
        ...subscriptionHandlers(options),
        ...deliveryHandlers(options),
        sendHandler(options),
      ],
      consumers: [eventConsumer(options), requestConsumer()],
      tasks: [deliverTask(options)],
      cronTasks: notificationTasks(() => options.clock.now()),
    },
  }
}
