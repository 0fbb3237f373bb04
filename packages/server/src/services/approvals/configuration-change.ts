/** What all changes of templates, groups, associations and delegations have in common. */
import type { ChangeContext } from "../../router/handler.ts"
import { raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import type { Tx } from "../../storage/database.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import { configurationComponent, delegationsComponent } from "./approval-directory.ts"
import type { ApprovalsContext } from "./options.ts"

/**
 * Until the transaction ends nobody else changes the account's templates, groups and associations: whether a template
 * can be satisfied, and whether two associations tie, is a question about all of them.
 */
export async function lockConfiguration(tx: Tx, account: string): Promise<void> {
  await tx.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [`approvals.configuration ${account}`])
}

interface ChangedRow {
  readonly id: string
  readonly version: number
  readonly name?: string
}

/** Tells of a change of configuration, and makes every server load it. */
export async function configurationChanged(
  context: ApprovalsContext,
  ctx: ChangeContext,
  change: { readonly row: ChangedRow; readonly type: string; readonly data?: Readonly<Record<string, unknown>> },
): Promise<void> {
  const { row, type, data } = change
  const isDelegation = type.startsWith("delegation.")
  const named = row.name === undefined ? {} : { name: row.name }
  ctx.emit({ aggregate: row.id, type, subject: row.id, version: row.version, data: { ...named, ...data } })
  await raiseConfigurationVersion(ctx.tx, ctx.account, isDelegation ? delegationsComponent : configurationComponent)
  ctx.afterCommit(context.configurationChanged)
}

/** The name after which a page begins. @throws request.invalid-cursor */
export function nameAfter(cursor: string | undefined): string {
  const [after = ""] = cursor === undefined ? [] : decodeCursor(cursor, 1)
  return String(after)
}

/** A page of at most `limit` of the rows, one of which more was read; `keyOf` is what the list is sorted by. */
export function pageOfRows<Row, Item>(
  rows: readonly Row[],
  limit: number,
  of: { readonly keyOf: (row: Row) => string; readonly toItem: (row: Row) => Item },
): { items: Item[]; nextCursor?: string } {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  const more = rows.length > limit && last !== undefined
  return { items: shown.map(of.toItem), ...(more ? { nextCursor: encodeCursor([of.keyOf(last)]) } : {}) }
}
