import pg from "pg"
import { assert } from "@signalbox/kernel/assert"

/** Object ids of the built-in types whose default reading by `pg` does not suit us (pg_type.dat, stable for ever). */
const oid = {
  int8: 20,
  int8Array: 1016,
  date: 1082,
  timestamp: 1114,
  timestamptz: 1184,
  timestamptzArray: 1185,
  interval: 1186,
}

function parseInteger(text: string): number {
  const value = Number(text)
  assert(Number.isSafeInteger(value), `the bigint ${text} does not fit a number: select it as text`)
  return value
}

/** Milliseconds since 1970 of a `timestamptz` as PostgreSQL prints it in UTC; finer digits are cut off. */
export function parseInstant(text: string): number {
  const value = Date.parse(
    text
      .replace(" ", "T")
      .replace(/(\.\d{3})\d+/, "$1")
      .replace(/\+00$/, "Z"),
  )
  assert(Number.isFinite(value), `the instant ${text} has no milliseconds`)
  return Math.floor(value)
}

const arrayOf = (parse: (text: string) => unknown) => (text: string) =>
  text === "{}"
    ? []
    : text
        .slice(1, -1)
        .split(",")
        .map((item) => (item === "NULL" ? null : parse(item.replaceAll('"', ""))))

const parsers = new Map<number, (text: string) => unknown>([
  [oid.int8, parseInteger],
  [oid.int8Array, arrayOf(parseInteger)],
  [oid.timestamptz, parseInstant],
  [oid.timestamptzArray, arrayOf(parseInstant)],
  [oid.date, (text) => text],
  [oid.timestamp, (text) => text],
  [oid.interval, (text) => text],
])

/** How column values become JavaScript values in our own pools; other users of `pg` in this process are not touched. */
export const columnTypes: pg.CustomTypesConfig = {
  getTypeParser: ((id: number, format?: "text" | "binary") =>
    (format !== "binary" && parsers.get(id)) ||
    pg.types.getTypeParser(id, format as "text")) as typeof pg.types.getTypeParser,
}
