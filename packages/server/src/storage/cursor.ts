import { AppError } from "@signalbox/kernel/app-error"

type SortKey = string | number

/** An opaque page cursor: the sort key of the last item of a page. */
export function encodeCursor(values: readonly SortKey[]): string {
  return Buffer.from(JSON.stringify(values)).toString("base64url")
}

/** The sort key of a cursor that `encodeCursor` made of `length` values. @throws request.invalid-cursor */
export function decodeCursor(text: string, length: number): SortKey[] {
  let values: unknown
  try {
    values = JSON.parse(Buffer.from(text, "base64url").toString("utf8"))
  } catch (cause) {
    throw new AppError("request.invalid-cursor", "the cursor can't be read", { cause })
  }
  const ok =
    Array.isArray(values) &&
    values.length === length &&
    values.every((value) => typeof value === "string" || (typeof value === "number" && Number.isFinite(value)))
  if (!ok) throw new AppError("request.invalid-cursor", "the cursor is not one of this list")
  return values as SortKey[]
}
