import {
  signalsGet,
  signalsList,
  signalsPut,
  signalsRemove,
  signalsStates,
  silencesGet,
  silencesList,
  silencesPut,
  silencesRemove,
} from "@signalbox/contracts/triggers/signals"
import { parseTagQuery } from "@signalbox/contracts/fleet/tag-query"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { onChange, onRead, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Sql } from "../../storage/database.ts"
import {
  getDefinition,
  pageOfDefinitions,
  putWithEvent,
  removeWithEvent,
  signalKind,
  silenceKind,
} from "./definition-change.ts"
import type { DefinitionRow } from "./definition-store.ts"
import { findDefinition } from "./definition-store.ts"
import type { TriggersOptions } from "./options.ts"
import type { SilenceSpec } from "./quiet.ts"
import { checkSpec, type SignalSpec } from "./signal-spec.ts"
import type { SignalState } from "./signal-machine.ts"
import type { Sample, SignalWatcher } from "./signal-watcher.ts"
import { countStates, listStates, type StateRow } from "./state-store.ts"

export function signalHandlers(options: TriggersOptions, watcher: Pick<SignalWatcher, "latest">): Handler[] {
  return [
    onChange(signalsPut, (input, ctx) => putSignal(options, input, ctx), { prepare: checkSignal }),
    onRead(signalsList, async (input, { sql, account }) => {
      const { rows, ...rest } = await pageOfDefinitions<SignalSpec>(sql, signalKind, { account, ...input })
      return { items: await withCounts(sql, account, rows), ...rest }
    }),
    onRead(signalsGet, async ({ name }, { sql, account }) => {
      const row = await getDefinition<SignalSpec>(sql, signalKind, { account, name })
      const counts = countsOf(await countStates(sql, account, [row.id]), row.id)
      return { ...toSignal(row), counts }
    }),
    onChange(signalsRemove, async ({ name }, ctx) => {
      await removeWithEvent(options, ctx, { kind: signalKind, name })
      return { name }
    }),
    onRead(signalsStates, (input, ctx) => statesPage(watcher, input, ctx)),
    ...silenceHandlers(options),
  ]
}

/** A command on nodes is work on nodes, whatever it is called: it needs the permission of a run. */
async function checkSignal({ metric, ...rest }: InputOf<typeof signalsPut>, { caller }: ReadContext): Promise<void> {
  checkSpec({ metric, ...rest })
  if ("command" in metric && !caller.permissions.has("executions.run"))
    throw new AppError(
      "identity.permission-denied",
      `a signal with a command needs executions.run, which ${caller.principal} lacks`,
      { details: { permission: "executions.run" } },
    )
  return Promise.resolve()
}

async function putSignal(options: TriggersOptions, input: InputOf<typeof signalsPut>, ctx: ChangeContext) {
  const { name, description, ...spec } = input
  const { row, change } = await putWithEvent<SignalSpec>(options, ctx, { kind: signalKind, name, description, spec })
  return { ...toSignal(row), changed: change !== "none" }
}

type Signal = Omit<OutputOf<typeof signalsGet>, "counts">

function toSignal({ id, name, description, spec, ...row }: DefinitionRow<SignalSpec>): Signal {
  return {
    ...{ id, name, ...(description === null ? {} : { description }), ...spec, version: row.version },
    ...{ createdAt: toInstant(row.createdAt), changedAt: toInstant(row.changedAt), changedBy: row.changedBy },
  }
}

type Count = Awaited<ReturnType<typeof countStates>>[number]

async function withCounts(sql: Sql, account: string, rows: ReadonlyArray<DefinitionRow<SignalSpec>>) {
  const ids = rows.map(({ id }) => id)
  const counts = ids.length === 0 ? [] : await countStates(sql, account, ids)
  return rows.map((row) => ({ ...toSignal(row), counts: countsOf(counts, row.id) }))
}

function countsOf(counts: readonly Count[], signalId: string): Record<SignalState, number> {
  const all: Record<SignalState, number> = { unknown: 0, clear: 0, pending: 0, raised: 0, clearing: 0 }
  for (const each of counts) if (each.signalId === signalId) all[each.state] = each.count
  return all
}

async function statesPage(
  watcher: Pick<SignalWatcher, "latest">,
  { name, state, cursor, limit }: InputOf<typeof signalsStates>,
  { sql, account }: ReadContext,
): Promise<OutputOf<typeof signalsStates>> {
  const { id: signalId } = await getDefinition<SignalSpec>(sql, signalKind, { account, name })
  const [node = "", nodeId = ""] = cursor === undefined ? [] : decodeCursor(cursor, 2)
  const after = [String(node), String(nodeId)] as const
  const rows = await listStates(sql, { account, signalId, state, after, limit: limit + 1 })
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  return {
    items: shown.map((row) => toState(row, watcher.latest(row.nodeId, signalId))),
    ...(rows.length > limit && last ? { nextCursor: encodeCursor([last.node, last.nodeId]) } : {}),
  }
}

function toState(
  { node, nodeId, state, since, value, silenced }: StateRow,
  latest: Sample | undefined,
): OutputOf<typeof signalsStates>["items"][number] {
  return {
    ...{ node, nodeId, state, since: toInstant(since) },
    ...(value === null ? {} : { value }),
    ...(silenced === null ? {} : { silenced }),
    ...(latest === undefined ? {} : { latest: { ...latest, at: toInstant(latest.at) } }),
  }
}

function silenceHandlers(options: TriggersOptions): Handler[] {
  return [
    onChange(silencesPut, (input, ctx) => putSilence(options, input, ctx)),
    onRead(silencesList, async (input, { sql, account, now }) => {
      const { rows, ...rest } = await pageOfDefinitions<SilenceSpec>(sql, silenceKind, { account, ...input })
      return { items: rows.map((row) => toSilence(row, now)), ...rest }
    }),
    onRead(silencesGet, async ({ name }, { sql, account, now }) =>
      toSilence(await getDefinition<SilenceSpec>(sql, silenceKind, { account, name }), now),
    ),
    onChange(silencesRemove, async ({ name }, ctx) => {
      await removeWithEvent(options, ctx, { kind: silenceKind, name })
      return { name }
    }),
  ]
}

async function putSilence(options: TriggersOptions, input: InputOf<typeof silencesPut>, ctx: ChangeContext) {
  const { name, signals, nodes, reason } = input
  if (nodes !== undefined) parseTagQuery(nodes)
  const existing = await findDefinition<SilenceSpec>(ctx.tx, "silences", { account: ctx.account, name })
  const until = Date.parse(input.until)
  // One that is written again without a beginning keeps the one it has.
  const from = input.from === undefined ? (existing?.spec.from ?? ctx.now) : Date.parse(input.from)
  if (until <= from || until <= ctx.now)
    throw new AppError("triggers.invalid-silence", "a silence ends after it begins, and not in the past", {
      issues: [{ path: "until", message: "has to lie after `from` and ahead" }],
    })
  const spec: SilenceSpec = { signals, ...(nodes === undefined ? {} : { nodes }), reason, from, until }
  const { row, change } = await putWithEvent(options, ctx, { kind: silenceKind, name, description: undefined, spec })
  return { ...toSilence(row, ctx.now), changed: change !== "none" }
}

function toSilence({ id, name, spec, ...row }: DefinitionRow<SilenceSpec>, now: number): OutputOf<typeof silencesGet> {
  const { from, until, ...rest } = spec
  const state = now < from ? "planned" : now < until ? "active" : "ended"
  return {
    ...{ id, name, ...rest, from: toInstant(from), until: toInstant(until), state, version: row.version },
    ...{ createdAt: toInstant(row.createdAt), changedAt: toInstant(row.changedAt), changedBy: row.changedBy },
  }
}
