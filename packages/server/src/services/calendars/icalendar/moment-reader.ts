import type { Property } from "./content-lines.ts"
import { documentFault } from "./document-fault.ts"
import type { Moment } from "./moments.ts"
import { toInstant, utcZone, type Zone } from "./zone.ts"
import type { ZoneNames } from "./zone-names.ts"

/** Finds the zones of the times of one calendar. */
export class MomentReader {
  readonly #names: ZoneNames
  readonly #own: Zone | undefined

  /** @param ownZone what times without a zone are meant in; a name that nobody knows is none */
  constructor(names: ZoneNames, ownZone: string | undefined) {
    this.#names = names
    this.#own = ownZone === undefined ? undefined : names.find(ownZone)
  }

  /** @param near the zone of the event's start, for times that name none. @throws calendars.invalid-document */
  zoneOf(moment: Moment, { name, line }: Pick<Property, "name" | "line">, near?: Zone): Zone {
    if (moment.kind === "utc") return utcZone
    if (moment.zoneName !== undefined) return this.#names.get(moment.zoneName, line)
    const zone = near ?? this.#own
    if (zone) return zone
    const what = moment.kind === "date" ? "is a whole day" : "is a time without a time zone"
    throw documentFault(line, `${name} ${what}, and the document doesn't say where: give the calendar a \`zone\``)
  }

  instantOf(moment: Moment, property: Pick<Property, "name" | "line">, near: Zone): number {
    return toInstant(this.zoneOf(moment, property, near), moment.wall)
  }
}
