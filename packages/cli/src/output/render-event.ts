import type { OutputOf } from "@signalbox/contracts/operation"
import type { eventsWatch } from "@signalbox/contracts/audit/operations"
import { cellText } from "./cell-text.ts"
import { safeLine } from "./safe-text.ts"
import { fit } from "./table.ts"

/** An event in one line. */
export function renderEvent(event: OutputOf<typeof eventsWatch>, columns: number | undefined): string {
  const text = safeLine(
    `${cellText(event.time)}  ${event.type}  ${event.subject}  by ${event.principal}  ${cellText(event.data)}`,
  )
  return `${columns === undefined ? text : fit(text, columns)}\n`
}
