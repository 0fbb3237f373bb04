import type { MapDocument } from "@signalbox/contracts/routing/map-document"
import { stringify } from "yaml"

/** The routing map as a document, always written the same way, so that two of them can be compared. */
export function routingMapText({ destinations, services, routes }: MapDocument): string {
  return stringify({
    kind: "RoutingMap",
    destinations: sorted(destinations, ({ url, ca, state }) => given({ url, ca, state })),
    services: sorted(services, (place) => place),
    routes: sorted(routes, (route) => given({ services: route.services, merge: route.merge, rules: route.rules })),
  })
}

function sorted<Value>(all: Readonly<Record<string, Value>>, write: (value: Value) => unknown): object {
  const entries = Object.entries(all).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([name, value]) => [name, write(value)]))
}

function given(fields: object): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
