import {
  calendarsFreezes,
  calendarsState,
  calendarsTimes,
  changeCalendarLimits,
} from "@signalbox/contracts/calendars/change-calendars"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { onRead, type Handler, type ReadContext } from "../../router/handler.ts"
import { calendarNotFound, getCalendar } from "./change-calendar-access.ts"
import { holdsCall, makeTimeTable, togetherAt, type OneState } from "./change-calendar-model.ts"
import { readCalendars, type CalendarRow } from "./change-calendar-store.ts"
import { dayMilliseconds } from "./icalendar/moments.ts"
import type { KnownCalendar } from "./known-calendar.ts"
import type { CalendarsContext } from "./options.ts"

/** What people ask of calendars: from the rows, so that an answer follows the change before it. */
export function calendarStateHandlers(context: CalendarsContext): Handler[] {
  return [
    onRead(calendarsState, async (input, ctx) => {
      const rows = namedRows(await readCalendars(ctx.sql, ctx.account), input.calendars)
      const calendars = await knowAll(context, ctx, rows)
      const at = input.at === undefined ? ctx.now : Date.parse(input.at)
      const statesAt = (instant: number): OneState[] => calendars.map((known) => known.stateAt(instant, ctx.now))
      const { open, changesAt, name, unknown } = togetherAt(statesAt, at)
      return {
        at: toInstant(at),
        state: open ? ("open" as const) : ("closed" as const),
        unknown,
        ...(changesAt === null ? {} : { changesAt: toInstant(changesAt) }),
        ...(name === null ? {} : { name }),
        items: statesAt(at).map((one) => ({
          name: one.name,
          state: one.open ? ("open" as const) : ("closed" as const),
          unknown: one.unknown,
          ...(one.changesAt === null ? {} : { changesAt: toInstant(one.changesAt) }),
          ...(one.event === null ? {} : { event: one.event }),
        })),
      }
    }),
    onRead(calendarsTimes, async (input, ctx) => {
      const row = await getCalendar(ctx.sql, ctx.account, input.name)
      const { compiled } = await context.calendars.know(ctx.sql, row)
      const from = input.from === undefined ? ctx.now : Date.parse(input.from)
      const to = from + input.days * dayMilliseconds
      const found = compiled ? makeTimeTable(compiled.occurrencesBetween(from, to), from, to).occurrences : []
      const state = row.defaultState === "open" ? ("closed" as const) : ("open" as const)
      return {
        items: found
          .slice(0, input.limit)
          .map(({ start, end, summary }) => ({ start: toInstant(start), end: toInstant(end), event: summary, state })),
        truncated: found.length > input.limit,
      }
    }),
    onRead(calendarsFreezes, async (input, ctx) => {
      const attributes = input.workflow === undefined ? {} : { workflow: input.workflow }
      const rows = await readCalendars(ctx.sql, ctx.account)
      const holding = rows.filter(({ holds }) => holdsCall(holds, { operation: input.operation, attributes }))
      const at = input.at === undefined ? ctx.now : Date.parse(input.at)
      const items = (await knowAll(context, ctx, holding)).flatMap((known) => {
        const { name, open, changesAt, event, unknown } = known.stateAt(at, ctx.now)
        const { freezeTemplate } = known.row
        const opensAt = changesAt === null ? {} : { opensAt: toInstant(changesAt) }
        const told = { ...(freezeTemplate === null ? {} : { freezeTemplate }), ...(event === null ? {} : { event }) }
        return open ? [] : [{ name, unknown, ...told, ...opensAt }]
      })
      return { items }
    }),
  ]
}

async function knowAll(
  { calendars }: CalendarsContext,
  { sql }: ReadContext,
  rows: readonly CalendarRow[],
): Promise<KnownCalendar[]> {
  const known: KnownCalendar[] = []
  for (const row of rows) known.push(await calendars.know(sql, row))
  return known
}

/** @throws calendars.calendar-not-found, request.invalid-input */
function namedRows(rows: readonly CalendarRow[], text: string | undefined): readonly CalendarRow[] {
  if (text === undefined) return rows
  const names = new Set(text.split(",").map((name) => name.trim()))
  if (names.size > changeCalendarLimits.namesMax)
    throw new AppError("request.invalid-input", `ask about ${changeCalendarLimits.namesMax} calendars at most`, {
      issues: [{ path: "calendars", message: `at most ${changeCalendarLimits.namesMax} names` }],
    })
  return [...names].map((name) => {
    const row = rows.find((each) => each.name === name)
    if (!row) throw calendarNotFound(name)
    return row
  })
}
