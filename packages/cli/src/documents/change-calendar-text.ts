import { stringify } from "yaml"
import { durationText } from "./duration-text.ts"

interface ChangeCalendarLike {
  readonly name: string
  readonly description?: string | undefined
  readonly default: string
  readonly zone?: string | undefined
  readonly document?: string | undefined
  readonly url?: string | undefined
  readonly urlSecret?: string | undefined
  readonly refreshEvery?: string | undefined
  readonly staleAfter?: string | undefined
  readonly countTransparent: boolean
  readonly holds: ReadonlyArray<{
    readonly operations: readonly string[]
    readonly workflows?: readonly string[] | undefined
  }>
  readonly freezeTemplate?: string | undefined
}

/** A change calendar as a document, always written the same way, so that two of them can be compared. */
export function changeCalendarText(calendar: ChangeCalendarLike): string {
  const { name, description, zone, document, url, urlSecret, refreshEvery, staleAfter, freezeTemplate } = calendar
  const fetched =
    document === undefined
      ? {
          refreshEvery: refreshEvery === undefined ? undefined : durationText(refreshEvery),
          staleAfter: staleAfter === undefined ? undefined : durationText(staleAfter),
        }
      : {}
  return stringify({
    kind: "ChangeCalendar",
    name,
    ...given({ description }),
    default: calendar.default,
    ...given({ zone, url, urlSecret, ...fetched }),
    countTransparent: calendar.countTransparent,
    holds: calendar.holds.map(({ operations, workflows }) => ({ operations, ...given({ workflows }) })),
    ...given({ freezeTemplate, document: document?.replaceAll("\r\n", "\n") }),
  })
}

function given(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
