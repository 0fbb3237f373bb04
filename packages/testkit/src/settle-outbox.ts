import { setTimeout as delay } from "node:timers/promises"
import type { Sql } from "@signalbox/server/storage/database"

const timeoutMilliseconds = 20_000
const pollMilliseconds = 10

/**
 * Waits until readers see every event that is committed. The horizon of the outbox is that of the whole PostgreSQL
 * server, so another test file's open transaction can hold it back for a moment.
 */
export async function settleOutbox(sql: Sql): Promise<void> {
  const deadline = Date.now() + timeoutMilliseconds
  while (Date.now() < deadline) {
    const hidden = await sql.query(
      "select 1 from outbox where xid >= outbox_position(pg_snapshot_xmin(pg_current_snapshot())) limit 1",
    )
    if (hidden.length === 0) return
    await delay(pollMilliseconds)
  }
  throw new Error(`the outbox did not settle in ${timeoutMilliseconds} ms: a transaction stays open`)
}
