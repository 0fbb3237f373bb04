/** Schedules that belong to rules: kept as the rules have them, and never changed by anybody else. */
import { ruleSchedulesKeep } from "@signalbox/contracts/calendars/rule-schedules"
import type { InputOf } from "@signalbox/contracts/operation"
import { ruleScheduleName } from "@signalbox/contracts/rules/rule-schedule"
import { assert } from "@signalbox/kernel/assert"
import { getDuration } from "@signalbox/kernel/duration"
import { newId } from "@signalbox/kernel/id"
import { onChange, type ChangeContext, type Handler } from "../../router/handler.ts"
import { findNext, isSame, type Wanted } from "./apply-schedule.ts"
import type { CalendarsContext } from "./options.ts"
import { emitSchedule } from "./schedule-access.ts"
import { deleteSchedule, lockSchedulesOfRule, putSchedule, type ScheduleRow } from "./schedule-store.ts"
import { readTiming } from "./schedule-timing.ts"

type Kept = InputOf<typeof ruleSchedulesKeep>

const disabledReason = "the rule is disabled"
/** Of `catchUp: all`. */
const catchUpMax = 10

export function keepRuleSchedules(context: CalendarsContext): Handler {
  return onChange(ruleSchedulesKeep, async (input, ctx) => {
    const wanted = input.schedules.map((_, place) => readWanted(input, place, ctx.account))
    const existing = new Map((await lockSchedulesOfRule(ctx.tx, ctx.account, input.rule)).map((row) => [row.name, row]))
    for (const row of existing.values()) {
      if (wanted.some(({ name }) => name === row.name)) continue
      await deleteSchedule(ctx.tx, ctx.account, row.name)
      emitSchedule(ctx, { ...row, version: row.version + 1 }, "schedule.removed")
    }
    for (const each of wanted) await keep(context, ctx, { wanted: each, existing: existing.get(each.name), input })
    ctx.afterCommit(context.hint)
    return { rule: input.rule, kept: wanted.map(({ name }) => name) }
  })
}

/** @throws calendars.invalid-timing */
function readWanted({ rule, description, author, schedules }: Kept, place: number, account: string): Wanted {
  const schedule = schedules[place]
  assert(schedule, "one of the rule's schedules")
  const { catchUp, startWithin, ...timing } = schedule
  return {
    ...readTiming(timing),
    ...{ account, name: ruleScheduleName(rule, place), description: description ?? null, rule, author },
    ...{ catchUp, catchUpMax, startWithinMs: getDuration(startWithin), overlap: "allow", windows: [] },
    ...{ operation: null, input: {}, authorRoles: [] },
  }
}

/** While the rule is disabled its instants are forgotten, as those of a schedule that is paused. */
async function keep(
  context: CalendarsContext,
  ctx: ChangeContext,
  of: { readonly wanted: Wanted; readonly existing: ScheduleRow | undefined; readonly input: Kept },
): Promise<void> {
  const { wanted, existing, input } = of
  const { enabled } = input
  if (existing?.enabled === enabled && isSame(existing, wanted)) return
  const row = await putSchedule(
    ctx.tx,
    {
      ...wanted,
      id: existing?.id ?? newId("schedule", context.clock, context.random),
      enabled,
      pausedReason: enabled ? null : disabledReason,
      nextAt: findNext(existing, { wanted, enabled, now: ctx.now }),
    },
    ctx.now,
  )
  assert(row, "an upsert returns its row")
  emitSchedule(ctx, row, existing ? "schedule.changed" : "schedule.created")
}
