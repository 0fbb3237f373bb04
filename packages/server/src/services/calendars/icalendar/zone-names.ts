import { findProperty, type Component } from "./components.ts"
import { readDescribedZone } from "./described-zone.ts"
import { documentFault } from "./document-fault.ts"
import type { RecurrenceLibrary } from "./recurrence.ts"
import { windowsZones } from "./windows-zones.ts"
import { findNamedZone, type Zone } from "./zone.ts"

/**
 * What the zone names of one document mean. A name of the IANA database means that zone, whatever the document says of
 * it: its descriptions are often cut short. Any other name means what the document's VTIMEZONE says, else what Windows
 * means by it.
 */
export class ZoneNames {
  readonly #library: RecurrenceLibrary
  readonly #described = new Map<string, Component>()
  readonly #known = new Map<string, Zone>()

  constructor(library: RecurrenceLibrary, calendars: readonly Component[]) {
    this.#library = library
    for (const component of calendars.flatMap(({ components }) => components)) {
      if (component.name !== "VTIMEZONE") continue
      const id = findProperty(component, "TZID")
      if (!id) throw documentFault(component.line, "this VTIMEZONE has no TZID")
      this.#described.set(plain(id.value), component)
    }
  }

  /** @throws calendars.invalid-document where nobody knows the name */
  get(name: string, line: number): Zone {
    const wanted = plain(name)
    const known = this.#known.get(wanted)
    if (known) return known
    const zone = this.find(wanted)
    if (!zone)
      throw documentFault(
        line,
        `nothing says what the time zone "${wanted.slice(0, 80)}" is: the document has no VTIMEZONE of this name`,
      )
    this.#known.set(wanted, zone)
    return zone
  }

  find(name: string): Zone | undefined {
    const described = this.#described.get(name)
    const place = described && findProperty(described, "X-LIC-LOCATION")?.value
    return (
      findNamedZone(name) ??
      findAtTheEnd(name) ??
      (place === undefined ? undefined : findNamedZone(place)) ??
      (described && readDescribedZone(this.#library, described)) ??
      findNamedZone(windowsZones[name] ?? "")
    )
  }
}

const plain = (name: string): string => name.trim().replace(/^"(.*)"$/, "$1")

/** Thunderbird, Evolution and others write `/their.place/version/Europe/Berlin`. */
function findAtTheEnd(name: string): Zone | undefined {
  if (!name.startsWith("/")) return undefined
  const parts = name.split("/").slice(2)
  return parts.map((_, index) => findNamedZone(parts.slice(index).join("/"))).find((zone) => zone !== undefined)
}
