import { schedulesApply } from "@signalbox/contracts/calendars/schedules"
import { calendarLimits } from "@signalbox/contracts/calendars/timing"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { getDuration } from "@signalbox/kernel/duration"
import { newId } from "@signalbox/kernel/id"
import { findTemplateIssues } from "../../router/external-template.ts"
import { onChange, type ChangeContext, type Handler } from "../../router/handler.ts"
import type { CalendarsContext } from "./options.ts"
import { emitSchedule } from "./schedule-access.ts"
import {
  countSchedules,
  lockSchedule,
  putSchedule,
  type ScheduleDefinition,
  type ScheduleRow,
} from "./schedule-store.ts"
import { readTiming } from "./schedule-timing.ts"
import { occurrencesOf, toSchedule } from "./schedule-wire.ts"
import { nextInstant } from "./timing.ts"
import { findUnknownWindows } from "./window-store.ts"

type Input = InputOf<typeof schedulesApply>

/** What a person decides of a schedule. */
export type Wanted = Omit<ScheduleDefinition, "id" | "nextAt" | "enabled" | "pausedReason">

const startWithinMillisecondsMin = 10_000

/** schedules.apply: whoever applies a schedule becomes the one in whose name it fires. */
export function applySchedule(context: CalendarsContext): Handler {
  return onChange(schedulesApply, async (input, ctx) => {
    const wanted = readWanted(context, input, ctx)
    await refuseUnknownWindows(ctx, wanted.windows)
    const existing = await lockSchedule(ctx.tx, ctx.account, input.name)
    const enabled = input.enabled ?? existing?.enabled ?? true
    if (existing?.enabled === enabled && isSame(existing, wanted))
      return { ...toSchedule(existing, undefined), changed: false }
    if (!existing) await refuseTooMany(ctx)
    const nextAt = findNext(existing, { wanted, enabled, now: ctx.now })
    if (nextAt === null && !existing)
      throw new AppError("calendars.invalid-timing", "this timing has no instant that is still to come")
    const row = await putSchedule(
      ctx.tx,
      {
        ...wanted,
        id: existing?.id ?? newId("schedule", context.clock, context.random),
        enabled,
        pausedReason: enabled ? null : (existing?.pausedReason ?? null),
        nextAt,
      },
      ctx.now,
    )
    assert(row, "an upsert returns its row")
    emitSchedule(ctx, row, existing ? "schedule.changed" : "schedule.created")
    ctx.afterCommit(context.hint)
    return { ...toSchedule(row, undefined), changed: true }
  })
}

function readWanted(context: CalendarsContext, input: Input, ctx: ChangeContext): Wanted {
  const timing = readTiming(input)
  const startWithinMs = getDuration(input.startWithin)
  if (startWithinMs < startWithinMillisecondsMin)
    throw new AppError("calendars.invalid-timing", "`startWithin` is 10 seconds at least", {
      issues: [{ path: "startWithin", message: "at least 10s" }],
    })
  checkCall(context, input, ctx)
  if (!context.principals.findPrincipal(ctx.account, ctx.caller.principal, ctx.now))
    throw new AppError("calendars.author-refused", `${ctx.caller.principal} is no API key of this account`)
  return {
    ...timing,
    account: ctx.account,
    name: input.name,
    description: input.description ?? null,
    catchUp: input.catchUp,
    catchUpMax: input.catchUpMax,
    startWithinMs,
    overlap: input.overlap,
    windows: [...new Set(input.windows)],
    operation: input.call.operation,
    input: input.call.input,
    rule: null,
    author: ctx.caller.principal,
    authorRoles: ctx.caller.roles,
  }
}

/** @throws routing.unknown-operation, calendars.call-refused, identity.permission-denied */
function checkCall({ operations, external }: CalendarsContext, { call }: Input, ctx: ChangeContext): void {
  const outside = external?.findOperation(ctx.account, call.operation)?.operation
  const operation = operations.get(call.operation) ?? outside?.declaration
  if (!operation) throw new AppError("routing.unknown-operation", `there is no operation "${call.operation}"`)
  if (operation.effect !== "change")
    throw new AppError(
      "calendars.call-refused",
      `${operation.name} changes nothing, so there is no use in scheduling it`,
    )
  if (operation.secretOutput ?? operation.secretInput)
    throw new AppError(
      "calendars.call-refused",
      `${operation.name} takes or gives a secret, which a schedule can't keep`,
    )
  if (!ctx.caller.permissions.has(operation.permission))
    throw new AppError(
      "identity.permission-denied",
      `a schedule of ${operation.name} needs ${operation.permission}, which ${ctx.caller.principal} lacks`,
      { details: { permission: operation.permission } },
    )
  const result = operation.input.safeParse(call.input)
  const found = result.success
    ? outside && findTemplateIssues(outside, call.input, "call.input")
    : result.error.issues.map(({ path, message }) => ({ path: ["call", "input", ...path].join("."), message }))
  const issues = found?.slice(0, issuesShownMax) ?? []
  if (issues.length === 0) return
  throw new AppError("calendars.call-refused", `${operation.name} doesn't accept this input: ${issues[0]?.message}`, {
    issues,
  })
}

const issuesShownMax = 50

async function refuseUnknownWindows(ctx: ChangeContext, names: readonly string[]): Promise<void> {
  const unknown = names.length === 0 ? [] : await findUnknownWindows(ctx.tx, ctx.account, names)
  if (unknown.length > 0)
    throw new AppError("calendars.window-not-found", `there is no maintenance window "${unknown.join('", "')}"`)
}

async function refuseTooMany(ctx: ChangeContext): Promise<void> {
  if ((await countSchedules(ctx.tx, ctx.account)) >= calendarLimits.schedulesMax)
    throw new AppError("calendars.too-many", `an account has ${calendarLimits.schedulesMax} schedules at most`)
}

/** An instant that waits to be decided about stays, unless the timing is another one or the schedule was paused. */
export function findNext(
  existing: ScheduleRow | undefined,
  to: { readonly wanted: Wanted; readonly enabled: boolean; readonly now: number },
): number | null {
  const { wanted, enabled, now } = to
  if (existing && isSameTiming(existing, wanted) && (existing.enabled || !enabled)) return existing.nextAt
  return nextInstant(occurrencesOf({ ...wanted, createdAt: existing?.createdAt ?? now }), now)
}

const timingMembers = ["cron", "at", "everyMs", "zone", "fromAt", "untilAt"] as const

function isSameTiming(row: ScheduleRow, wanted: Wanted): boolean {
  return timingMembers.every((member) => row[member] === wanted[member])
}

export function isSame(row: ScheduleRow, wanted: Wanted): boolean {
  return Object.entries(wanted).every(
    ([member, value]) => canonicalJson(row[member as keyof Wanted]) === canonicalJson(value),
  )
}
