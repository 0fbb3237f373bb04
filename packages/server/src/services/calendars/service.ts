import type { Service } from "../../router/handler.ts"
import type { WindowState } from "../../router/ports.ts"
import { firingsRetention, ScheduleClock } from "./background.ts"
import { firingConsumer } from "./firing-runner.ts"
import type { CalendarsContext, CalendarsOptions } from "./options.ts"
import { scheduleHandlers } from "./schedule-handlers.ts"
import { createWindowDirectory, type WindowDirectory } from "./window-directory.ts"
import { windowHandlers } from "./window-handlers.ts"

export interface CalendarsService {
  readonly service: Service
  readonly windows: WindowDirectory & WindowState
}

/** Schedules, which call operations in time, and maintenance windows, in which work may start. */
export function createCalendarsService(options: CalendarsOptions): CalendarsService {
  const windows = createWindowDirectory(options.database)
  const clock: ScheduleClock = new ScheduleClock(() => context)
  const context: CalendarsContext = { ...options, windows, hint: () => clock.hint() }
  return {
    service: {
      name: "calendars",
      handlers: [...scheduleHandlers(context), ...windowHandlers(context)],
      consumers: [firingConsumer(context)],
      cronTasks: [firingsRetention(() => options.clock.now())],
      start: () => {
        clock.start()
        return Promise.resolve()
      },
      stop: () => clock.stop(),
    },
    windows,
  }
}
