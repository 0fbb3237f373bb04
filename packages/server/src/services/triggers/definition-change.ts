import { triggerLimits } from "@signalbox/contracts/triggers/trigger-limits"
import { AppError } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import type { ErrorCode } from "@signalbox/kernel/error-catalogue"
import { newId, type IdKind } from "@signalbox/kernel/id"
import type { ChangeContext } from "../../router/handler.ts"
import { raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Sql } from "../../storage/database.ts"
import {
  countDefinitions,
  deleteDefinition,
  findDefinition,
  listDefinitions,
  lockDefinition,
  putDefinition,
  type DefinitionRow,
  type DefinitionTable,
} from "./definition-store.ts"
import type { TriggersOptions } from "./options.ts"

/** What tells one kind of definition from another. */
export interface DefinitionKind {
  readonly table: DefinitionTable
  /** As messages and events call it. */
  readonly noun: "signal" | "silence" | "hook" | "trigger"
  readonly idKind: IdKind
  readonly most: number
  readonly notFound: ErrorCode
  /** Whose version is raised, where servers keep these in memory. */
  readonly component?: string
}

export const signalsComponent = "triggers.signals"

export const signalKind: DefinitionKind = {
  table: "signals",
  noun: "signal",
  idKind: "signal",
  most: triggerLimits.signalsMax,
  notFound: "triggers.signal-not-found",
  component: signalsComponent,
}
export const silenceKind: DefinitionKind = {
  table: "silences",
  noun: "silence",
  idKind: "silence",
  most: triggerLimits.silencesMax,
  notFound: "triggers.silence-not-found",
  component: signalsComponent,
}
export const hookKind: DefinitionKind = {
  table: "hooks",
  noun: "hook",
  idKind: "hook",
  most: triggerLimits.hooksMax,
  notFound: "triggers.hook-not-found",
}
export const triggerKind: DefinitionKind = {
  table: "named_triggers",
  noun: "trigger",
  idKind: "trigger",
  most: triggerLimits.triggersMax,
  notFound: "triggers.trigger-not-found",
}

export interface Put<Spec> {
  readonly row: DefinitionRow<Spec>
  readonly change: "created" | "changed" | "none"
}

/** Creates or changes a definition, with its event. @throws triggers.too-many */
export async function putWithEvent<Spec>(
  options: TriggersOptions,
  ctx: ChangeContext,
  of: { kind: DefinitionKind; name: string; description: string | undefined; spec: Spec },
): Promise<Put<Spec>> {
  const { kind, name, spec } = of
  const { account } = ctx
  const description = of.description ?? null
  const existing = await lockDefinition<Spec>(ctx.tx, kind.table, { account, name })
  if (existing?.description === description && canonicalJson(existing.spec) === canonicalJson(spec))
    return { row: existing, change: "none" }
  if (!existing && (await countDefinitions(ctx.tx, kind.table, account)) >= kind.most)
    throw new AppError("triggers.too-many", `an account has ${kind.most} ${kind.table.replace("named_", "")} at most`)
  const id = existing?.id ?? newId(kind.idKind, options.clock, options.random)
  const definition = { account, name, id, description, spec, changedBy: ctx.caller.principal }
  const row = await putDefinition(ctx.tx, kind.table, { definition, now: ctx.now })
  const change = existing ? "changed" : "created"
  await tell(options, ctx, { kind, row, change })
  return { row, change }
}

/** Removes a definition, with its event; gives what it was. */
export async function removeWithEvent<Spec>(
  options: TriggersOptions,
  ctx: ChangeContext,
  { kind, name }: { kind: DefinitionKind; name: string },
): Promise<DefinitionRow<Spec>> {
  const row = await lockDefinition<Spec>(ctx.tx, kind.table, { account: ctx.account, name })
  if (!row) throw notFound(kind, name)
  await deleteDefinition(ctx.tx, kind.table, row)
  await tell(options, ctx, { kind, row: { ...row, version: row.version + 1 }, change: "removed" })
  return row
}

/** Tells that a definition is another one now: its event, and the version that servers look at. */
export async function tell(
  options: TriggersOptions,
  ctx: ChangeContext,
  { kind, row, change }: { kind: DefinitionKind; row: DefinitionRow<unknown>; change: string },
): Promise<void> {
  const { id, name, version } = row
  ctx.emit({ aggregate: id, type: `${kind.noun}.${change}`, subject: id, version, data: { name } })
  if (kind.component === undefined) return
  await raiseConfigurationVersion(ctx.tx, ctx.account, kind.component)
  ctx.afterCommit(options.configurationChanged)
}

export async function getDefinition<Spec>(
  sql: Sql,
  kind: DefinitionKind,
  of: { readonly account: string; readonly name: string },
): Promise<DefinitionRow<Spec>> {
  const row = await findDefinition<Spec>(sql, kind.table, of)
  if (!row) throw notFound(kind, of.name)
  return row
}

export async function pageOfDefinitions<Spec>(
  sql: Sql,
  kind: DefinitionKind,
  page: { readonly account: string; readonly cursor?: string | undefined; readonly limit: number },
): Promise<{ rows: Array<DefinitionRow<Spec>>; nextCursor?: string }> {
  const { account, cursor, limit } = page
  const [after = ""] = cursor === undefined ? [] : decodeCursor(cursor, 1)
  const rows = await listDefinitions<Spec>(sql, kind.table, { account, after: String(after), limit: limit + 1 })
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  return { rows: shown, ...(rows.length > limit && last ? { nextCursor: encodeCursor([last.name]) } : {}) }
}

export const notFound = (kind: DefinitionKind, name: string): AppError =>
  new AppError(kind.notFound, `there is no ${kind.noun} "${name}" in this account`)
