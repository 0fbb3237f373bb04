import { encodeCursor } from "../../storage/cursor.ts"

/** A page out of one row more than it shows. */
export function page<Row, Item>(
  rows: readonly Row[],
  limit: number,
  map: { item: (row: Row) => Item; key: (row: Row) => string },
): { items: Item[]; nextCursor?: string } {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  const more = rows.length > limit && last !== undefined
  return { items: shown.map(map.item), ...(more ? { nextCursor: encodeCursor([map.key(last)]) } : {}) }
}
