import {
  actionsCancel,
  actionsGet,
  actionsList,
  actionsPerform,
  actionsRedrive,
  actionsRedriveRule,
  actionsStorms,
} from "@signalbox/contracts/actions/operations"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { actionRunId, runUrl } from "../../router/action-run-id.ts"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Sql } from "../../storage/database.ts"
import { findLoop } from "./action-machine.ts"
import type { ActionsContext } from "./options.ts"
import { findRoom } from "./queue-runs.ts"
import { eventDataOf } from "./run-events.ts"
import {
  cancelRun,
  countRuleDepths,
  findRun,
  insertRuns,
  listRuns,
  redriveRule,
  redriveRun,
  type NewRun,
  type RunRow,
} from "./run-store.ts"
import { listStorms } from "./storm-store.ts"
import { toRun, toRunDetails, toStorm, type ActionRun } from "./wire.ts"
import { actionLimits } from "@signalbox/contracts/actions/operations"

export function actionHandlers(context: ActionsContext): Handler[] {
  const { publicUrl, performer } = context
  const wake = (): void => performer.wake()
  return [
    onRead(actionsList, async (input, { sql, account }) => {
      const { state, rule, cause, trigger } = input
      const [time, id] = input.cursor === undefined ? [] : decodeCursor(input.cursor, 2)
      const before = time === undefined ? undefined : { time: Number(time), id: String(id) }
      const rows = await listRuns(sql, account, { state, rule, cause, trigger, before, limit: input.limit + 1 })
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      const next = rows.length > input.limit && last ? { nextCursor: encodeCursor([last.createdAt, last.id]) } : {}
      return { items: shown.map((row) => toRun(row, publicUrl)), ...next }
    }),
    onRead(actionsGet, async ({ action }, { sql, account }) =>
      toRunDetails(await getRun(sql, account, action), publicUrl),
    ),
    onRead(actionsStorms, async (input, { sql, account }) => {
      const [after] = input.cursor === undefined ? [] : decodeCursor(input.cursor, 1)
      const of = { rule: input.rule, after: after === undefined ? undefined : String(after), limit: input.limit + 1 }
      const rows = await listStorms(sql, account, of)
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      const next = rows.length > input.limit && last ? { nextCursor: encodeCursor([last.rule]) } : {}
      return { items: shown.map(toStorm), ...next }
    }),
    onChange(actionsCancel, async ({ action, reason }, ctx) => {
      const { account, now, caller } = ctx
      const message = reason ?? `cancelled by ${caller.principal}`
      const run = await cancelRun(ctx.tx, { account, id: action, now, error: { code: "actions.cancelled", message } })
      return tell(context, ctx, run ?? (await refuse(ctx, action, "cancelled")))
    }),
    onChange(actionsRedrive, async ({ action }, ctx) => {
      const run = await redriveRun(ctx.tx, ctx.account, { id: action, now: ctx.now })
      ctx.afterCommit(wake)
      return tell(context, ctx, run ?? (await refuse(ctx, action, "redriven")))
    }),
    onChange(actionsRedriveRule, async ({ rule, limit }, ctx) => {
      const runs = await redriveRule(ctx.tx, ctx.account, { rule, now: ctx.now, limit })
      for (const run of runs) tell(context, ctx, run)
      ctx.afterCommit(wake)
      const left = await listRuns(ctx.tx, ctx.account, { rule, state: "dead", limit: 1 })
      return { rule, redriven: runs.length, left: left.length > 0 }
    }),
    onChange(actionsPerform, async (input, ctx) => {
      const run = await newRun(input, ctx)
      const [known] = await findKnown(ctx, run.id)
      if (known) return { id: known.id, url: runUrl(publicUrl, known.id), state: known.state }
      if (run.state === "queued" && (await findRoom(ctx.tx, ctx.account, run.rule)) <= 0)
        throw new AppError("actions.queue-full", `${actionLimits.queuedPerRuleMax} runs of "${run.rule}" wait already`)
      await insertRuns(ctx.tx, [run], ctx.now)
      tell(context, ctx, { ...(await getRun(ctx.tx, ctx.account, run.id)) })
      ctx.afterCommit(wake)
      return { id: run.id, url: runUrl(publicUrl, run.id), state: run.state }
    }),
  ]
}

async function findKnown({ tx, account }: ChangeContext, id: string): Promise<RunRow[]> {
  const row = await findRun(tx, account, id)
  return row ? [row] : []
}

/** The call that hands it over has the depth of the run's own call: the router counts. */
async function newRun(
  input: InputOf<typeof actionsPerform>,
  { account, cause, depth, tx }: ChangeContext,
): Promise<NewRun> {
  const { rule, version, number, trigger, operation, targets, author } = input
  const { depthMax, sameRuleMax } = actionLimits
  const causes = depth >= sameRuleMax ? [cause] : []
  const depths = (await countRuleDepths(tx, account, { rule, causes })).get(cause) ?? []
  const ruleDepths = depths.filter((each) => each <= depth).length
  const loop = findLoop({ depth }, { rule, ruleDepths, depthMax, sameRuleMax })
  return {
    ...{ account, rule, ruleVersion: version, number, operation, targets, author, isOwnRule: false },
    id: actionRunId(trigger.id, { rule, number }),
    event: trigger,
    ...{ cause, causedBy: trigger.id, depth: depth + 1 },
    ...(loop === undefined
      ? { state: "queued", input: input.input }
      : { state: "stopped", input: null, error: { code: "actions.loop-stopped", message: loop } }),
  }
}

/** The run's events belong to its own story, whoever acts on it. */
function tell({ publicUrl }: ActionsContext, ctx: ChangeContext, run: RunRow): ActionRun {
  const { id, account, version, cause, causedBy, depth } = run
  const told = eventDataOf(run)
  ctx.emit({
    ...{ aggregate: id, type: told.type, subject: id, version, story: { account, cause, causedBy, depth } },
    data: { ...told.data, by: ctx.caller.principal },
  })
  return toRun(run, publicUrl)
}

async function refuse(ctx: ChangeContext, id: string, what: string): Promise<never> {
  const { state, requestId } = await getRun(ctx.tx, ctx.account, id)
  const hint = state === "held" ? `; cancel its approval request ${requestId} instead` : ""
  throw new AppError("actions.wrong-state", `${id} is ${state}, so it can't be ${what}${hint}`)
}

/** @throws actions.not-found */
async function getRun(sql: Sql, account: string, id: string): Promise<RunRow> {
  const row = await findRun(sql, account, id)
  if (!row) throw new AppError("actions.not-found", `there is no run "${id}" in this account`)
  return row
}
