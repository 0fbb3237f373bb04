/**
 * Writes down uses of services outside, in batches. Each has its request's id, so that one that is written twice counts
 * once.
 */
import type { Logger } from "pino"
import type { UseRecorder } from "../../router/ports.ts"
import { BufferedRows } from "../../storage/buffered-rows.ts"
import type { Sql } from "../../storage/database.ts"

type Use = Parameters<UseRecorder["record"]>[0]

const statement = `
  insert into uses (id, account, operation, principal, used_at)
  select u.id, u.account, u.operation, u.principal, to_timestamp(u.used_at / 1000)
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::float8[]) as u (id, account, operation, principal, used_at)
  on conflict do nothing`

export class BufferedUses implements UseRecorder {
  readonly #rows: BufferedRows<Use>

  constructor(sql: Sql, logger: Pick<Logger, "warn">) {
    this.#rows = new BufferedRows("uses", (batch) => insertUses(sql, batch), logger)
  }

  record(use: Use): void {
    // What is done to Signalbox itself is told by its events; the bill comes with the service that writes it.
    if (use.operation.startsWith("ext.")) this.#rows.add(use)
  }

  stop(): Promise<void> {
    return this.#rows.stop()
  }
}

function insertUses(sql: Sql, batch: readonly Use[]): Promise<unknown> {
  return sql.query(
    statement,
    [
      batch.map(({ requestId }) => requestId),
      batch.map(({ caller }) => caller.account),
      batch.map(({ operation }) => operation),
      batch.map(({ caller }) => caller.principal),
      batch.map(({ now }) => now),
    ],
    { name: "metering-insert-uses" },
  )
}
