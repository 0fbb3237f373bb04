import { calendarLimits } from "@signalbox/contracts/calendars/timing"
import {
  windowsApply,
  windowsGet,
  windowsList,
  windowsRemove,
  windowsState,
} from "@signalbox/contracts/calendars/windows"
import { executionsList } from "@signalbox/contracts/workflows/operations"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { toInstant } from "@signalbox/kernel/clock"
import { getDuration } from "@signalbox/kernel/duration"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import { raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Sql } from "../../storage/database.ts"
import type { CalendarsContext } from "./options.ts"
import { listSchedulesOfWindow } from "./schedule-store.ts"
import { compile } from "./timing.ts"
import { windowsComponent } from "./window-directory.ts"
import { segmentAt } from "./window-model.ts"
import {
  deleteWindow,
  findWindow,
  listWindows,
  lockWindow,
  putWindow,
  readWindows,
  type WindowRow,
} from "./window-store.ts"
import { specOf, toWindow } from "./window-wire.ts"

type Definition = Omit<WindowRow, "account" | "id" | "version" | "createdAt" | "changedAt" | "changedBy">

export function windowHandlers(context: CalendarsContext): Handler[] {
  return [
    onChange(windowsApply, async (input, ctx) => {
      const definition = readDefinition(input)
      const existing = await lockWindow(ctx.tx, ctx.account, input.name)
      if (existing && isSame(existing, definition)) return { ...toWindow(existing), changed: false }
      if (!existing) await refuseTooMany(ctx)
      const id = existing?.id ?? newId("window", context.clock, context.random)
      const row = await putWindow(
        ctx.tx,
        { ...definition, account: ctx.account, id, changedBy: ctx.caller.principal },
        ctx.now,
      )
      assert(row, "an upsert returns its row")
      await changed(context, ctx, { row, type: existing ? "window.changed" : "window.created" })
      return { ...toWindow(row), changed: true }
    }),
    onRead(windowsGet, async (input, { sql, account }) => toWindow(await getWindow(sql, account, input.name))),
    onRead(windowsList, async (input, { sql, account }) => {
      const [after = ""] = input.cursor === undefined ? [] : decodeCursor(input.cursor, 1)
      const rows = await listWindows(sql, account, { after: String(after), limit: input.limit + 1 })
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      return {
        items: shown.map(toWindow),
        ...(rows.length > input.limit && last ? { nextCursor: encodeCursor([last.name]) } : {}),
      }
    }),
    onChange(
      windowsRemove,
      async (input, ctx) => {
        const row = await lockWindow(ctx.tx, ctx.account, input.name)
        if (!row) throw windowNotFound(input.name)
        const users = await listSchedulesOfWindow(ctx.tx, ctx.account, input.name)
        if (users.length > 0)
          throw new AppError("calendars.window-in-use", `these schedules name "${input.name}": ${users.join(", ")}`)
        await deleteWindow(ctx.tx, ctx.account, input.name)
        await changed(context, ctx, { row: { ...row, version: row.version + 1 }, type: "window.removed" })
        return { name: row.name }
      },
      { prepare: (input, ctx) => refuseUsedByRuns(context, input.name, ctx) },
    ),
    onRead(windowsState, async (input, { sql, account, now }) => {
      const row = await getWindow(sql, account, input.name)
      const at = input.at === undefined ? now : Date.parse(input.at)
      const { state, startsUntil, closesAt, opensAt } = segmentAt(specOf(row), at)
      return {
        name: row.name,
        at: toInstant(at),
        state,
        ...(startsUntil === undefined ? {} : { startsUntil: toInstant(startsUntil) }),
        ...(closesAt === undefined ? {} : { closesAt: toInstant(closesAt) }),
        ...(opensAt === null ? {} : { opensAt: toInstant(opensAt) }),
      }
    }),
  ]
}

const namedMax = 20

/** A run that begins right after this look waits, and says that nothing of it opens again. @throws calendars.window-in-use */
async function refuseUsedByRuns({ caller }: CalendarsContext, name: string, ctx: ReadContext): Promise<void> {
  const { account, cause, requestId, depth } = ctx
  const as = { account, cause, causedBy: requestId, depth: depth + 1, service: "calendars", roles: ["viewer"] } as const
  const { items } = await caller.call(executionsList, { window: name, limit: namedMax }, as)
  if (items.length === 0) return
  const ids = items.map(({ id }) => id).join(", ")
  throw new AppError("calendars.window-in-use", `these executions have not ended and name "${name}": ${ids}`)
}

/** @throws calendars.window-not-found */
async function getWindow(sql: Sql, account: string, name: string): Promise<WindowRow> {
  const row = await findWindow(sql, account, name)
  if (!row) throw windowNotFound(name)
  return row
}

const windowNotFound = (name: string): AppError =>
  new AppError("calendars.window-not-found", `there is no maintenance window "${name}" in this account`)

/** @throws calendars.invalid-timing */
function readDefinition(input: InputOf<typeof windowsApply>): Definition {
  if ((input.cron === undefined) === (input.at === undefined))
    throw new AppError("calendars.invalid-timing", "a window is given either by `cron` or by `at`")
  if (input.cron !== undefined) compile(input.cron, input.zone)
  const durationMs = getDuration(input.duration)
  const cutoffMs = getDuration(input.cutoff)
  if (durationMs < windowMillisecondsMin)
    throw new AppError("calendars.invalid-timing", "a window stays open for a minute at least", {
      issues: [{ path: "duration", message: "at least 1m" }],
    })
  if (cutoffMs >= durationMs)
    throw new AppError("calendars.invalid-timing", "the cutoff takes the whole window; nothing could ever start", {
      issues: [{ path: "cutoff", message: "shorter than the duration" }],
    })
  return {
    name: input.name,
    description: input.description ?? null,
    cron: input.cron ?? null,
    at: input.at === undefined ? null : Date.parse(input.at),
    zone: input.zone,
    durationMs,
    cutoffMs,
    excludedDates: [...new Set(input.excludedDates)].toSorted(),
  }
}

const windowMillisecondsMin = 60_000

function isSame(row: WindowRow, definition: Definition): boolean {
  return Object.entries(definition).every(
    ([key, value]) => JSON.stringify(row[key as keyof Definition]) === JSON.stringify(value),
  )
}

async function refuseTooMany(ctx: ChangeContext): Promise<void> {
  const rows = await readWindows(ctx.tx, ctx.account)
  if (rows.length >= calendarLimits.windowsInAccountMax)
    throw new AppError("calendars.too-many", `an account has ${calendarLimits.windowsInAccountMax} windows at most`)
}

async function changed(
  context: CalendarsContext,
  ctx: ChangeContext,
  { row, type }: { row: WindowRow; type: string },
): Promise<void> {
  ctx.emit({ aggregate: row.id, type, subject: row.id, version: row.version, data: { name: row.name } })
  await raiseConfigurationVersion(ctx.tx, ctx.account, windowsComponent)
  ctx.afterCommit(context.configurationChanged)
}
