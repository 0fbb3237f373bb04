import type { MapDocument } from "@signalbox/contracts/routing/map-document"
import { AppError } from "@signalbox/kernel/app-error"

/**
 * Rows of the map about operations of services outside, which say who is asked about their calls and nothing else: one
 * operation's, before a service's (`ext.billing.*`), before all (`ext.*`).
 */
export interface OutsideRules<Place> {
  /** Undefined where the built-in rules service is asked. */
  find(operation: string): "none" | Place | undefined
}

export function isOutsideRow(name: string): boolean {
  return name.startsWith("ext.")
}

/** Undefined where there is no such row, so that calls have nothing to look up. @throws routing.invalid-map */
export function makeOutsideRules<Place extends object>(
  { routes }: Pick<MapDocument, "routes">,
  destinationOf: (name: string) => Place | undefined,
): OutsideRules<Place> | undefined {
  const rows = new Map<string, "none" | Place>()
  for (const [name, { services, merge, rules }] of Object.entries(routes)) {
    if (!isOutsideRow(name)) continue
    if (services !== undefined || merge !== undefined || rules === undefined)
      throw new AppError(
        "routing.invalid-map",
        `"${name}" goes to its service: a row of it says \`rules\`, and nothing else`,
      )
    const destination = destinationOf(rules)
    if (!destination && rules !== "none")
      throw new AppError(
        "routing.invalid-map",
        `"${name}" asks the rules service "${rules}", which is none of the destinations`,
      )
    rows.set(name, destination ?? "none")
  }
  if (rows.size === 0) return undefined
  return {
    find: (operation) => rows.get(operation) ?? rows.get(`${operation.split(".", 2).join(".")}.*`) ?? rows.get("ext.*"),
  }
}
