import { AppError } from "@signalbox/kernel/app-error"
import type { ChangeContext } from "../../router/handler.ts"
import type { Sql } from "../../storage/database.ts"
import { findSchedule, lockSchedule, type ScheduleRow } from "./schedule-store.ts"

/** @throws calendars.schedule-not-found */
export async function getSchedule(sql: Sql, account: string, name: string): Promise<ScheduleRow> {
  const row = await findSchedule(sql, account, name)
  if (!row) throw scheduleNotFound(name)
  return row
}

/** Of one that a person may change. @throws calendars.schedule-not-found, calendars.schedule-of-rule */
export async function getOwnSchedule(ctx: ChangeContext, name: string): Promise<ScheduleRow> {
  const row = await getLockedSchedule(ctx, name)
  if (row.rule === null) return row
  throw new AppError("calendars.schedule-of-rule", `"${name}" belongs to the rule "${row.rule}" and is changed with it`)
}

/** @throws calendars.schedule-not-found */
export async function getLockedSchedule(ctx: ChangeContext, name: string): Promise<ScheduleRow> {
  const row = await lockSchedule(ctx.tx, ctx.account, name)
  if (!row) throw scheduleNotFound(name)
  return row
}

export function emitSchedule(ctx: ChangeContext, row: ScheduleRow, type: string): void {
  ctx.emit({
    aggregate: row.id,
    type,
    subject: row.id,
    version: row.version,
    data: {
      name: row.name,
      ...(row.operation === null ? {} : { operation: row.operation }),
      ...(row.rule === null ? {} : { rule: row.rule }),
      ...(row.pausedReason ? { reason: row.pausedReason } : {}),
    },
  })
}

const scheduleNotFound = (name: string): AppError =>
  new AppError("calendars.schedule-not-found", `there is no schedule "${name}" in this account`)
