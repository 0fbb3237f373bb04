import { AppError } from "@signalbox/kernel/app-error"
import type { ChangeContext } from "../../router/handler.ts"
import { raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import type { Sql } from "../../storage/database.ts"
import { calendarsComponent } from "./calendar-directory.ts"
import { findCalendar, type CalendarRow } from "./change-calendar-store.ts"
import type { CalendarsContext } from "./options.ts"

/** @throws calendars.calendar-not-found */
export async function getCalendar(sql: Sql, account: string, name: string): Promise<CalendarRow> {
  const row = await findCalendar(sql, account, name)
  if (!row) throw calendarNotFound(name)
  return row
}

export const calendarNotFound = (name: string): AppError =>
  new AppError("calendars.calendar-not-found", `there is no change calendar "${name}" in this account`)

/** Records a change of a calendar and lets every server load it. */
export async function emitCalendar(
  context: CalendarsContext,
  ctx: ChangeContext,
  { row, type }: { readonly row: CalendarRow; readonly type: string },
): Promise<void> {
  const { name, eventsCount } = row
  ctx.emit({ aggregate: row.id, type, subject: row.id, version: row.version, data: { name, eventsCount } })
  await raiseConfigurationVersion(ctx.tx, ctx.account, calendarsComponent)
  ctx.afterCommit(context.configurationChanged)
}
