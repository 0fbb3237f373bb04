import type { Service } from "../../router/handler.ts"
import { notificationTasks } from "./background.ts"
import { channelHandlers } from "./channel-handlers.ts"
import { deliveryHandlers } from "./delivery-handlers.ts"
import { DeliverySender } from "./delivery-sender.ts"
import { eventConsumer } from "./notify.ts"
import type { NotificationsOptions } from "./options.ts"
import { sendHandler } from "./send-handler.ts"
import { subscriptionHandlers } from "./subscription-handlers.ts"

export type { NotificationsOptions } from "./options.ts"
export { sealedMessages } from "./sealed-messages.ts"

/** Tells people and programs of events: channels, subscriptions, deliveries. */
export function createNotificationsService(options: NotificationsOptions): { readonly service: Service } {
  const sender = new DeliverySender(options)
  const context = { ...options, sender }
  return {
    service: {
      name: "notifications",
      handlers: [
        ...channelHandlers(context),
        ...subscriptionHandlers(options),
        ...deliveryHandlers(context),
        sendHandler(context),
      ],
      consumers: [eventConsumer(context)],
      cronTasks: notificationTasks(() => options.clock.now()),
      workers: sender,
    },
  }
}
