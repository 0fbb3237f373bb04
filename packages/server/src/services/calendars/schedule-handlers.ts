import {
  schedulesFire,
  schedulesFirings,
  schedulesGet,
  schedulesList,
  schedulesPause,
  schedulesRemove,
  schedulesResume,
} from "@signalbox/contracts/calendars/schedules"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { onChange, onRead, type Caller, type ChangeContext, type Handler } from "../../router/handler.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Sql } from "../../storage/database.ts"
import { applySchedule } from "./apply-schedule.ts"
import { findFirings, listFirings } from "./firing-store.ts"
import { makeManualFiring } from "./make-firing.ts"
import type { CalendarsContext } from "./options.ts"
import { keepRuleSchedules } from "./rule-schedules.ts"
import { deleteSchedule, listSchedules, setEnabled, type ScheduleRow } from "./schedule-store.ts"
import { emitSchedule, getLockedSchedule, getOwnSchedule, getSchedule } from "./schedule-access.ts"
import { schedulePreview } from "./schedule-preview.ts"
import { occurrencesOf, toFiring, toSchedule, type Schedule } from "./schedule-wire.ts"
import { nextInstant } from "./timing.ts"

export function scheduleHandlers(context: CalendarsContext): Handler[] {
  return [
    applySchedule(context),
    keepRuleSchedules(context),
    schedulePreview(),
    ...readHandlers(),
    onChange(schedulesPause, async (input, ctx) => enable(context, ctx, { ...input, enabled: false })),
    onChange(schedulesResume, async (input, ctx) => enable(context, ctx, { ...input, enabled: true })),
    onChange(schedulesRemove, async (input, ctx) => {
      const row = await getOwnSchedule(ctx, input.name)
      await deleteSchedule(ctx.tx, ctx.account, input.name)
      emitSchedule(ctx, { ...row, version: row.version + 1 }, "schedule.removed")
      return { name: row.name }
    }),
    onChange(schedulesFire, async (input, ctx) => {
      const row = await getLockedSchedule(ctx, input.name)
      if (!row.enabled) throw new AppError("calendars.schedule-paused", `the schedule "${row.name}" is paused`)
      if (row.pendingFiring !== null)
        throw new AppError("calendars.firing-pending", `${row.pendingFiring} of "${row.name}" is still under way`)
      refusePowerless(context, row, ctx.caller)
      return toFiring(await makeManualFiring(context, ctx, row))
    }),
  ]
}

/** @throws identity.permission-denied where the caller may not do what the schedule does */
function refusePowerless({ operations }: CalendarsContext, { name, operation }: ScheduleRow, caller: Caller): void {
  const permission = operation === null ? "triggers.fire" : operations.get(operation)?.permission
  if (permission !== undefined && caller.permissions.has(permission)) return
  throw new AppError(
    "identity.permission-denied",
    `"${name}" ${operation === null ? "sets a rule going" : `calls ${operation}`}, for which ${caller.principal} lacks ${permission ?? "the operation"}`,
  )
}

function readHandlers(): Handler[] {
  return [
    onRead(schedulesGet, async (input, { sql, account }) => {
      const row = await getSchedule(sql, account, input.name)
      const [schedule] = await withLastFirings(sql, account, [row])
      assert(schedule, "one row gives one schedule")
      return schedule
    }),
    onRead(schedulesList, async (input, { sql, account }) => {
      const [after = ""] = input.cursor === undefined ? [] : decodeCursor(input.cursor, 1)
      const rows = await listSchedules(sql, account, { after: String(after), limit: input.limit + 1 })
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      return {
        items: await withLastFirings(sql, account, shown),
        ...(rows.length > input.limit && last ? { nextCursor: encodeCursor([last.name]) } : {}),
      }
    }),
    onRead(schedulesFirings, async (input, { sql, account }) => {
      const [before = ""] = input.cursor === undefined ? [] : decodeCursor(input.cursor, 1)
      const schedule = await getSchedule(sql, account, input.name)
      const rows = await listFirings(sql, {
        account,
        scheduleId: schedule.id,
        before: String(before),
        limit: input.limit + 1,
      })
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      return {
        items: shown.map(toFiring),
        ...(rows.length > input.limit && last ? { nextCursor: encodeCursor([last.id]) } : {}),
      }
    }),
  ]
}

async function withLastFirings(sql: Sql, account: string, rows: readonly ScheduleRow[]): Promise<Schedule[]> {
  const fired = rows.filter((row) => row.lastFiring !== null)
  const firings = await findFirings(sql, account, {
    schedules: fired.map((row) => row.id),
    firings: fired.map((row) => row.lastFiring ?? ""),
  })
  const byId = new Map(firings.map((firing) => [firing.id, firing]))
  return rows.map((row) => toSchedule(row, byId.get(row.lastFiring ?? "")))
}

/** A paused schedule forgets the instants of that time: it was paused so that they don't fire. */
async function enable(
  context: CalendarsContext,
  ctx: ChangeContext,
  input: { readonly name: string; readonly enabled: boolean; readonly reason?: string | undefined },
): Promise<Schedule> {
  const row = await getOwnSchedule(ctx, input.name)
  if (row.enabled === input.enabled) return toSchedule(row, undefined)
  const stored = await setEnabled(ctx.tx, {
    account: ctx.account,
    name: row.name,
    enabled: input.enabled,
    reason: input.reason ?? null,
    nextAt: input.enabled ? nextInstant(occurrencesOf(row), ctx.now) : row.nextAt,
    now: ctx.now,
  })
  assert(stored, "a locked row is updated")
  emitSchedule(ctx, stored, input.enabled ? "schedule.resumed" : "schedule.paused")
  ctx.afterCommit(context.hint)
  return toSchedule(stored, undefined)
}
