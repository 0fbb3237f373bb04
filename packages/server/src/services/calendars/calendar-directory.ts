/**
 * Every change calendar of the installation in memory, so that the gate may ask at each call. An account's calendars are
 * replaced whole when their version grows. Owns the timer that keeps their time tables ahead of the clock. A calendar
 * that is not here, or that this server can't read, is closed.
 */
import { isAppError } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import type { Logger } from "pino"
import type { CalendarsAnswer, CalendarState, ChangeFreezes, FreezableCall, Freeze } from "../../router/ports.ts"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import type { Sql } from "../../storage/database.ts"
import type { CalendarCompiler } from "./calendar-compiler.ts"
import { holdsCall, togetherAt, type OneState } from "./change-calendar-model.ts"
import { findDocument, readCalendars, type CalendarRow } from "./change-calendar-store.ts"
import { dayMilliseconds } from "./icalendar/moments.ts"
import { knowCalendar, KnownCalendar } from "./known-calendar.ts"

export const calendarsComponent = "calendars.change-calendars"

type AccountCalendars = Map<string, KnownCalendar>

const renewMilliseconds = 3_600_000
/** Time tables reach a year ahead; they are made anew when this much of it has passed. */
const tableAgeMax = 30 * dayMilliseconds

export interface CalendarDirectoryOptions {
  readonly sql: Sql
  readonly clock: Clock
  readonly logger: Logger
  readonly compiler: CalendarCompiler
}

export class CalendarDirectory implements CalendarState, ChangeFreezes, ConfigurationListener {
  readonly component = calendarsComponent
  readonly #options: CalendarDirectoryOptions
  readonly #accounts = new Map<string, AccountCalendars>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: CalendarDirectoryOptions) {
    this.#options = options
  }

  start(): void {
    const { logger } = this.#options
    this.#timer = setInterval(() => {
      this.#renew().catch((error: unknown) => logger.warn({ err: error }, "looking ahead in change calendars failed"))
    }, renewMilliseconds)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async load(account: string): Promise<void> {
    const { sql } = this.#options
    const calendars: AccountCalendars = new Map()
    for (const row of await readCalendars(sql, account)) calendars.set(row.name, await this.know(sql, row))
    this.#accounts.set(account, calendars)
  }

  /** A calendar as a row says it is, from memory where memory has it. */
  async know(sql: Sql, row: CalendarRow): Promise<KnownCalendar> {
    const known = this.#accounts.get(row.account)?.get(row.name)
    const isSame = known?.compiled && known.row.id === row.id && known.row.documentVersion === row.documentVersion
    return isSame ? known.withRow(row) : this.#make(sql, row)
  }

  stateOf(account: string, names: readonly string[], at: number): CalendarsAnswer {
    const now = this.#options.clock.now()
    const known = this.#accounts.get(account)
    const statesAt = (instant: number): OneState[] =>
      names.map((name) => known?.get(name)?.stateAt(instant, now) ?? missing(name))
    const { unknown, ...answer } = togetherAt(statesAt, at)
    return { ...answer, ...(unknown ? { unknown } : {}) }
  }

  find(account: string, call: FreezableCall, at: number): Freeze[] {
    const now = this.#options.clock.now()
    return [...(this.#accounts.get(account)?.values() ?? [])]
      .filter(({ row }) => holdsCall(row.holds, call))
      .flatMap((calendar) => {
        const { open, name, changesAt, event, unknown } = calendar.stateAt(at, now)
        const { freezeTemplate } = calendar.row
        return open ? [] : [{ calendar: name, freezeTemplate, opensAt: changesAt, event, unknown }]
      })
  }

  isAnyClosed(account: string, at: number): boolean {
    const now = this.#options.clock.now()
    const calendars = [...(this.#accounts.get(account)?.values() ?? [])]
    return calendars.some((calendar) => calendar.row.holds.length > 0 && !calendar.stateAt(at, now).open)
  }

  async #make(sql: Sql, row: CalendarRow): Promise<KnownCalendar> {
    const { compiler, clock, logger } = this.#options
    try {
      return await knowCalendar(row, {
        compiler,
        now: clock.now(),
        findDocument: ({ account, id, documentVersion }) =>
          findDocument(sql, { account, id, version: documentVersion ?? 0 }),
      })
    } catch (error) {
      if (!isAppError(error) || !error.code.startsWith("calendars.")) throw error
      logger.error({ err: error, calendar: row.name }, "a change calendar can't be read; it counts as closed")
      return new KnownCalendar(row)
    }
  }

  async #renew(): Promise<void> {
    const before = this.#options.clock.now() - tableAgeMax
    for (const [account, calendars] of this.#accounts) {
      for (const known of calendars.values()) {
        if (known.tableFrom === undefined || known.tableFrom >= before) continue
        const renewed = await this.#make(this.#options.sql, known.row)
        // Loaded anew meanwhile: then its table is new as well.
        if (this.#accounts.get(account) === calendars) calendars.set(known.row.name, renewed)
      }
    }
  }
}

const missing = (name: string): OneState => ({ name, open: false, changesAt: null, event: null, unknown: true })
