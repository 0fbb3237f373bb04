/**
 * Statements on one connection, and the transaction around them. Its `begin` leaves with the first statement and, where the
 * last one is known as such, the commit with that: each is a round trip less.
 */
import type pg from "pg"
import { assert } from "@signalbox/kernel/assert"
import { toStorageError } from "./database-error.ts"
import type { PlainValue, Sql, Tx } from "./sql.ts"

/** The `Sql` of one client; used by migrations and copies on direct connections. */
export function sqlOf(client: Pick<pg.ClientBase, "query">): Sql {
  const next = oneByOne()
  return {
    query: (text, values = [], options = {}) => next(() => runStatement(client, text, { values, ...options })),
  }
}

/** Each begins when the one before has ended, whether well or not. */
function oneByOne(): <T>(send: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return (send) => {
    const result = last.then(send, send)
    last = result.catch(() => {})
    return result
  }
}

/** @throws storage.unavailable, storage.disk-full, or PostgreSQL's own error */
export async function runStatement<Row extends object>(
  client: Pick<pg.ClientBase, "query">,
  text: string,
  options: { values: readonly unknown[]; name?: string },
): Promise<Row[]> {
  try {
    const { rows } = await send<Row>(client, {
      text,
      values: options.values as unknown[],
      ...(options.name === undefined ? {} : { name: options.name }),
    })
    return rows
  } catch (error) {
    throw toStorageError(error, "running a database statement")
  }
}

/**
 * By callback. Each promise that the driver makes keeps the one after it alive, with its rows, until old memory is
 * collected: of 15 MB of rows nobody wanted any more 13 outlived each collection of young memory, and none does so.
 */
function send<Row extends object>(
  client: Pick<pg.ClientBase, "query">,
  statement: pg.QueryConfig<unknown[]>,
): Promise<pg.QueryResult<Row & pg.QueryResultRow>> {
  return new Promise((resolve, reject) => {
    client.query<Row & pg.QueryResultRow, unknown[]>(statement, (error: Error | null, result) =>
      error ? reject(error) : resolve(result),
    )
  })
}

/** Statements one after the other; the first takes `begin` along. */
export class OpenTransaction implements Tx {
  readonly kind = "transaction"
  readonly #client: pg.PoolClient
  readonly #next = oneByOne()
  #isBegun = false
  #isOver = false

  constructor(client: pg.PoolClient) {
    this.#client = client
  }

  query<Row extends object>(
    text: string,
    values: readonly unknown[] = [],
    options: { name?: string } = {},
  ): Promise<Row[]> {
    assert(!this.#isOver, "a statement was sent after its transaction ended")
    return this.#next(() => this.#send<Row>(text, { values, ...options }))
  }

  queryAndCommit<Row extends object>(
    text: string,
    values: readonly PlainValue[],
    options: { name?: string } = {},
  ): Promise<Row[]> {
    assert(!this.#isOver, "a statement was sent after its transaction ended")
    this.#isOver = true
    return this.#next(async () => {
      const [last, committed] = await Promise.allSettled(
        inOneWrite(this.#client, () => [this.#send<Row>(text, { values, ...options }), commit(this.#client)] as const),
      )
      if (last.status === "rejected") {
        assert(committed.status === "rejected", "a transaction was committed without its last statement")
        throw last.reason
      }
      if (committed.status === "rejected") throw committed.reason
      this.#isBegun = false
      return last.value
    })
  }

  /** Nothing where it is committed already. */
  async commit(): Promise<void> {
    this.#isOver = true
    await this.#next(async () => {
      if (this.#isBegun) await commit(this.#client)
    })
    this.#isBegun = false
  }

  /** False where the connection is not to be used again. */
  async rollBack(): Promise<boolean> {
    this.#isOver = true
    if (!this.#isBegun) return true
    return await this.#next(() => runStatement(this.#client, "rollback", { values: [] })).then(
      () => true,
      () => false,
    )
  }

  async #send<Row extends object>(
    text: string,
    options: { values: readonly unknown[]; name?: string },
  ): Promise<Row[]> {
    if (this.#isBegun) return await runStatement<Row>(this.#client, text, options)
    this.#isBegun = true
    const [, rows] = await Promise.all(
      inOneWrite(
        this.#client,
        () =>
          [
            runStatement(this.#client, "begin", { values: [] }),
            runStatement<Row>(this.#client, text, options),
          ] as const,
      ),
    )
    return rows
  }
}

/** What is sent meanwhile reaches the socket in one piece. Only for clients that send at once (`pipeline`). */
function inOneWrite<T>(client: pg.PoolClient, send: () => T): T {
  const { stream } = (client as pg.PoolClient & Pick<pg.Client, "connection">).connection
  stream.cork()
  try {
    return send()
  } finally {
    stream.uncork()
  }
}

/** PostgreSQL answers the commit of a failed transaction with ROLLBACK and no error; that must not pass for success. */
async function commit(client: pg.PoolClient): Promise<void> {
  try {
    const { command } = await send(client, { text: "commit" })
    assert(command === "COMMIT", "a transaction whose statement failed was committed; let the statement's error go up")
  } catch (error) {
    throw toStorageError(error, "committing a transaction")
  }
}
