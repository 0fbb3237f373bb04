/** What all changes of products and portfolios have in common. */
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Tx } from "../../storage/database.ts"

/** Until the transaction ends nobody else changes the account's products and portfolios. */
export async function lockConfiguration(tx: Tx, account: string): Promise<void> {
  await tx.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [`catalog.configuration ${account}`])
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
  of: { readonly keyOf: (row: Row) => ReadonlyArray<string | number>; readonly toItem: (row: Row) => Item },
): { items: Item[]; nextCursor?: string } {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  const more = rows.length > limit && last !== undefined
  return { items: shown.map(of.toItem), ...(more ? { nextCursor: encodeCursor([...of.keyOf(last)]) } : {}) }
}

/** As it comes back from the database: members that are undefined are left out. */
export function asStored<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T
}
