import type { Service } from "../../router/handler.ts"
import type { Authenticator, CalendarState, ChangeFreezes, WindowState } from "../../router/ports.ts"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import type { Poller } from "../../storage/poller.ts"
import { firingsRetention, reviewsRetention, scheduleClock } from "./background.ts"
import { CalendarCompiler } from "./calendar-compiler.ts"
import { CalendarDirectory } from "./calendar-directory.ts"
import { changeCalendarHandlers } from "./change-calendar-handlers.ts"
import { createFeedAuthenticator } from "./feed-authenticator.ts"
import { feedHandlers } from "./feed-handlers.ts"
import { firingConsumer } from "./firing-runner.ts"
import type { CalendarsContext, CalendarsOptions } from "./options.ts"
import { reviewHandlers } from "./review-handlers.ts"
import { scheduleHandlers } from "./schedule-handlers.ts"
import { subscriptionClock } from "./subscription-clock.ts"
import { createWindowDirectory, type WindowDirectory } from "./window-directory.ts"
import { windowHandlers } from "./window-handlers.ts"

export interface CalendarsService {
  readonly service: Service
  readonly windows: WindowDirectory & WindowState
  readonly calendars: CalendarState & ChangeFreezes & ConfigurationListener
  readonly authenticators: readonly Authenticator[]
}

/**
 * Schedules, which call operations in time; maintenance windows, in which work may start; change calendars, which hold
 * changes.
 */
export function createCalendarsService(options: CalendarsOptions): CalendarsService {
  const { database, clock, logger } = options
  const windows = createWindowDirectory(database)
  const compiler = new CalendarCompiler()
  const calendars = new CalendarDirectory({ sql: database, clock, logger, compiler })
  const schedules: Poller = scheduleClock(options, () => context)
  const subscriptions: Poller = subscriptionClock(options, () => context)
  const context: CalendarsContext = {
    ...options,
    windows,
    compiler,
    calendars,
    hint: () => schedules.hint(),
    fetchHint: () => subscriptions.hint(),
  }
  return {
    service: {
      name: "calendars",
      handlers: [
        ...scheduleHandlers(context),
        ...windowHandlers(context),
        ...changeCalendarHandlers(context),
        ...feedHandlers(context),
        ...reviewHandlers(),
      ],
      consumers: [firingConsumer(context)],
      cronTasks: [firingsRetention(() => clock.now()), reviewsRetention(() => clock.now())],
      start: () => Promise.resolve(calendars.start()),
      stop: () => Promise.resolve(calendars.stop()),
      workers: {
        start() {
          schedules.start()
          subscriptions.start()
        },
        async stop() {
          await Promise.all([schedules.stop(), subscriptions.stop()])
        },
      },
    },
    windows,
    calendars,
    authenticators: [createFeedAuthenticator(database)],
  }
}
