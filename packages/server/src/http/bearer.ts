import type { IncomingHttpHeaders } from "node:http"

/** The token of `Authorization: Bearer …`; undefined where there is none. */
export function bearerOf(headers: IncomingHttpHeaders): string | undefined {
  const match = /^Bearer ([\x21-\x7e]{1,4096})$/i.exec(headers.authorization ?? "")
  return match?.[1]
}
