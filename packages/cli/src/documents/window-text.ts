import { stringify } from "yaml"
import { durationText } from "./duration-text.ts"

interface WindowLike {
  readonly name: string
  readonly description?: string | undefined
  readonly cron?: string | undefined
  readonly at?: string | undefined
  readonly zone: string
  readonly duration: string
  readonly cutoff: string
  readonly excludedDates: readonly string[]
}

/** A maintenance window as a document, always written the same way, so that two of them can be compared. */
export function windowText(window: WindowLike): string {
  const { name, description, cron, at } = window
  const given = Object.entries({ description, cron, at }).filter(([, value]) => value !== undefined)
  return stringify({
    kind: "Window",
    name,
    ...Object.fromEntries(given),
    zone: window.zone,
    duration: durationText(window.duration),
    cutoff: durationText(window.cutoff),
    excludedDates: [...new Set(window.excludedDates)].toSorted(),
  })
}
