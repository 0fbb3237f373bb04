import type { CallInputOf } from "@signalbox/contracts/operation"
import type { channelsApply, subscriptionsApply } from "@signalbox/contracts/notifications/operations"
import { stringify } from "yaml"
import { durationText } from "./duration-text.ts"

/** A channel as a document, always written the same way, so that two of them can be compared. */
export function channelText(channel: CallInputOf<typeof channelsApply>): string {
  const { name, description, via, to, url, urlSecret, signingSecret } = channel
  const recipients = to && [...new Set(to)]
  return stringify({
    kind: "Channel",
    name,
    via,
    ...given({ description, to: recipients, url, urlSecret, signingSecret }),
  })
}

/** A subscription as a document, likewise. */
export function subscriptionText(subscription: CallInputOf<typeof subscriptionsApply>): string {
  const { name, description, channel, events, when, throttle, throttleBy, enabled = true } = subscription
  return stringify({
    kind: "Subscription",
    name,
    ...given({ description }),
    channel,
    events: [...new Set(events)].toSorted(),
    ...given({ when, throttle: throttle === undefined ? undefined : durationText(throttle), throttleBy }),
    enabled,
  })
}

function given(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
