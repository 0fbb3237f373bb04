import { AppError } from "@signalbox/kernel/app-error"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"

/** The sort key of a page's last item, all of it text. @throws request.invalid-cursor */
export function readCursor(text: string, length: number): string[] {
  const values = decodeCursor(text, length)
  const ok = values.every((value) => typeof value === "string" && !value.includes("\0"))
  if (!ok) throw new AppError("request.invalid-cursor", "the cursor is not one of this list")
  return values.map(String)
}

/** One more row than the limit was asked for: it tells that there is a next page. */
export function pageOfRows<Row, Item>(
  rows: readonly Row[],
  limit: number,
  of: { readonly item: (row: Row) => Item; readonly key: (row: Row) => readonly string[] },
): { items: Item[]; nextCursor?: string } {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  return {
    items: shown.map(of.item),
    ...(rows.length > limit && last !== undefined ? { nextCursor: encodeCursor(of.key(last)) } : {}),
  }
}
