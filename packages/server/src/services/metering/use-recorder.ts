/**
 * Writes down uses of services outside, in batches. Each has its request's id, so that one that is written twice counts
 * once.
 */
import type { Logger } from "pino"
import type { UseRecorder } from "../../router/ports.ts"
import { BufferedRows } from "../../storage/buffered-rows.ts"
import type { Sql } from "../../storage/database.ts"

type Use = Parameters<UseRecorder["record"]>[0]

/** Ids and times are joined by commas, which neither has: with thousands of uses a second their parts cost more than all else. */
const statement = `
  insert into uses (id, account, operation, principal, used_at)
  select u.id, g.account, g.operation, g.principal, to_timestamp(u.used_at / 1000)
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
    as g (account, operation, principal, ids, times),
    unnest(string_to_array(g.ids, ','), string_to_array(g.times, ',')::float8[]) as u (id, used_at)
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
  const groups = [...groupedBy(batch).values()]
  return sql.query(
    statement,
    [
      groups.map(({ first }) => first.caller.account),
      groups.map(({ first }) => first.operation),
      groups.map(({ first }) => first.caller.principal),
      groups.map(({ ids }) => ids.join(",")),
      groups.map(({ times }) => times.join(",")),
    ],
    { name: "metering-insert-uses" },
  )
}

interface Group {
  readonly first: Use
  readonly ids: string[]
  readonly times: number[]
}

/** By account, operation and principal: uses of one batch are mostly of few. */
function groupedBy(batch: readonly Use[]): ReadonlyMap<string, Group> {
  const groups = new Map<string, Group>()
  let last: Group | undefined
  for (const use of batch) {
    const { caller, operation, requestId, now } = use
    if (last?.first.caller !== caller || last.first.operation !== operation) {
      const key = `${caller.account} ${operation} ${caller.principal}`
      last = groups.get(key) ?? { first: use, ids: [], times: [] }
      groups.set(key, last)
    }
    last.ids.push(requestId)
    last.times.push(now)
  }
  return groups
}
