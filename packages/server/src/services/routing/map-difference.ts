import type { MapDocument } from "@signalbox/contracts/routing/map-document"
import { canonicalJson } from "@signalbox/kernel/canonical-json"

/** One entry that two maps say different things of. */
export interface MapDifference {
  readonly place: string
  readonly before?: string
  readonly after?: string
}

const parts = ["destinations", "services", "routes"] as const

/** What differs, in the order of the places. Pure. */
export function differencesOf(before: MapDocument, after: MapDocument): MapDifference[] {
  return parts.flatMap((part) => {
    const names = [...new Set([...Object.keys(before[part]), ...Object.keys(after[part])])].toSorted()
    return names.flatMap((name) => {
      const [was, is] = [entryText(before[part], name), entryText(after[part], name)]
      if (was === is) return []
      return [
        {
          place: `${part}.${name}`,
          ...(was === undefined ? {} : { before: was }),
          ...(is === undefined ? {} : { after: is }),
        },
      ]
    })
  })
}

function entryText(entries: Readonly<Record<string, unknown>>, name: string): string | undefined {
  if (!Object.hasOwn(entries, name)) return undefined
  const entry = entries[name]
  return typeof entry === "string" ? entry : canonicalJson(entry)
}
