import {
  calendarsDocument,
  calendarsGet,
  calendarsList,
  calendarsRefresh,
  calendarsRemove,
  calendarsVersions,
} from "@signalbox/contracts/calendars/change-calendars"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { onChange, onRead, type Handler } from "../../router/handler.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import { applyCalendar } from "./apply-calendar.ts"
import { calendarStateHandlers } from "./calendar-state-handlers.ts"
import { calendarNotFound, emitCalendar, getCalendar } from "./change-calendar-access.ts"
import { deleteCalendar, findDocument, listCalendars, listVersions, lockCalendar } from "./change-calendar-store.ts"
import { toCalendar } from "./change-calendar-wire.ts"
import type { CalendarsContext } from "./options.ts"
import { setFetchAt } from "./subscription-store.ts"

export function changeCalendarHandlers(context: CalendarsContext): Handler[] {
  return [
    applyCalendar(context),
    ...calendarStateHandlers(context),
    ...readHandlers(),
    onChange(calendarsRemove, async ({ name }, ctx) => {
      const row = await lockCalendar(ctx.tx, ctx.account, name)
      if (!row) throw calendarNotFound(name)
      await deleteCalendar(ctx.tx, row)
      await emitCalendar(context, ctx, { row: { ...row, version: row.version + 1 }, type: "calendar.removed" })
      return { name }
    }),
    onChange(calendarsRefresh, async ({ name }, ctx) => {
      const row = await lockCalendar(ctx.tx, ctx.account, name)
      if (!row) throw calendarNotFound(name)
      if (row.refreshMs === null)
        throw new AppError("calendars.not-subscribed", `the calendar "${name}" has no URL to be fetched from`)
      await setFetchAt(ctx.tx, { account: ctx.account, name, at: ctx.now })
      ctx.afterCommit(context.fetchHint)
      return toCalendar({ ...row, fetchAt: ctx.now }, ctx.now)
    }),
  ]
}

function readHandlers(): Handler[] {
  return [
    onRead(calendarsGet, async ({ name }, { sql, account, now }) =>
      toCalendar(await getCalendar(sql, account, name), now),
    ),
    onRead(calendarsList, async (input, { sql, account, now }) => {
      const [after = ""] = input.cursor === undefined ? [] : decodeCursor(input.cursor, 1)
      const rows = await listCalendars(sql, account, { after: String(after), limit: input.limit + 1 })
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      return {
        items: shown.map((row) => toCalendar(row, now)),
        ...(rows.length > input.limit && last ? { nextCursor: encodeCursor([last.name]) } : {}),
      }
    }),
    onRead(calendarsDocument, async ({ name, version }, { sql, account }) => {
      const row = await getCalendar(sql, account, name)
      const wanted = version ?? row.documentVersion ?? 0
      const document = await findDocument(sql, { account, id: row.id, version: wanted })
      if (document === undefined)
        throw new AppError(
          "calendars.version-not-found",
          version === undefined && row.documentVersion === null
            ? `the calendar "${name}" has no document yet: it is still to be fetched`
            : `version ${wanted} of the calendar "${name}" is not kept`,
        )
      return { name, version: wanted, document }
    }),
    onRead(calendarsVersions, async ({ name }, { sql, account }) => {
      const row = await getCalendar(sql, account, name)
      const versions = await listVersions(sql, account, row.id)
      return {
        items: versions.map(({ defaultState, changedAt, ...version }) => ({
          ...version,
          default: defaultState,
          changedAt: toInstant(changedAt),
        })),
      }
    }),
  ]
}
