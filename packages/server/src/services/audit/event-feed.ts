import { setTimeout as delay } from "node:timers/promises"
import { streamOpen } from "../../router/handler.ts"
import type { Sql } from "../../storage/database.ts"
import { readEvents, type DeliveredEvent, type Expanders } from "../../storage/outbox.ts"

const pollMilliseconds = 200
const pageEventsMax = 500

/** Events after a position, as they become visible, until the signal says stop; first that the position is one. */
export async function* followEvents(options: {
  readonly sql: Sql
  readonly account: string
  readonly after: string
  readonly types?: readonly string[]
  readonly expanders: Expanders
  readonly signal: AbortSignal
}): AsyncGenerator<DeliveredEvent | typeof streamOpen> {
  const { sql, account, types, expanders, signal } = options
  let after = options.after
  let isOpen = false
  while (!signal.aborted) {
    const page = await readEvents(sql, { account, after, limit: pageEventsMax, expanders, ...(types ? { types } : {}) })
    if (!isOpen) yield streamOpen
    isOpen = true
    yield* page.events
    after = page.cursor ?? after
    if (!page.more) await delay(pollMilliseconds, undefined, { signal }).catch(() => undefined)
  }
}
