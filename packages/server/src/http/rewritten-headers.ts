import type { HeaderPair } from "../router/external-ports.ts"
import type { RewrittenRequest } from "../router/external-rewrite.ts"
import type { Passage } from "../router/external-stage.ts"
import { requestHeadersOf, type CameBy } from "./pass-headers.ts"

/** What is said of a body's bytes is not true of others. */
const ofTheBody: ReadonlySet<string> = new Set([
  ...["content-length", "content-md5", "content-digest", "digest", "repr-digest"],
])

/**
 * Name, value, name, value: of a call that rules rewrote. What they set is said last, so that a caller can't have it
 * dropped by naming it in `Connection`; what the service is shown of Signalbox stays.
 */
export async function rewrittenHeadersOf(
  came: CameBy,
  passage: Passage & { readonly rewritten: RewrittenRequest },
  shown: HeaderPair | undefined | Promise<HeaderPair | undefined>,
): Promise<string[]> {
  const { headers, body } = passage.rewritten
  const credentials = await shown
  const changed = new Set(headers.map(([name]) => name))
  const isDropped = (name: string): boolean => changed.has(name) || (body !== undefined && ofTheBody.has(name))
  const rawHeaders = came.rawHeaders.flatMap((name, index, all) =>
    index % 2 === 0 && !isDropped(name.toLowerCase()) ? [name, all[index + 1] ?? ""] : [],
  )
  const own = headers.filter(([name]) => name !== credentials?.[0].toLowerCase())
  return [...requestHeadersOf({ ...came, rawHeaders }, passage, credentials), ...own.flat()]
}
