/**
 * The one door to PostgreSQL. Owns a pool of connections whose settings (schema, UTC, time limits, column types) are
 * the same on every connection. Statements are plain SQL with values as parameters; instants come back as milliseconds.
 */
import { setTimeout as delay } from "node:timers/promises"
import pg from "pg"
import { AppError, hasCode } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { columnTypes } from "./column-types.ts"
import { isTransient, toStorageError } from "./database-error.ts"
import { OpenTransaction, runStatement } from "./statements.ts"
import type { Sql, Tx } from "./sql.ts"

export type { Sql, Tx } from "./sql.ts"

/**
 * One connection whose statements leave at once, behind those that are not answered yet. They are carried out in the order
 * of the calls, each in a transaction of its own: one that fails does not stop those behind it.
 */
export interface Lane extends Sql {
  /** Gives the connection back once every statement has been answered. Never rejects. */
  close(): Promise<void>
}

export interface Database extends Sql {
  /**
   * Runs `work` between begin and commit, or rolls back; `begin` leaves with the first statement. A deadlock or
   * serialization failure runs it again, so `work` changes nothing outside the transaction. @throws storage.unavailable, storage.disk-full
   */
  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T>
  /** A connection for its caller alone; undefined while a quarter of all are given out so. @throws storage.unavailable */
  openLane(): Promise<Lane | undefined>
  readonly pool: pg.Pool
  close(): Promise<void>
}

/** Where a database is: a postgres:// address, or the same in fields. */
export type Connection =
  | string
  | Pick<pg.ClientConfig, "host" | "port" | "user" | "password" | "database" | "ssl" | "options">

export interface StorageLogger {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

export const schemaName = "signalbox"
export const serverVersionMin = 15
export const transactionAttemptsMax = 6
export const statementTimeoutMilliseconds = 30_000
export const idleInTransactionTimeoutMilliseconds = 30_000
const connectTimeoutMilliseconds = 10_000
/** Of all connections, so many at most are lanes: who holds one for long must not keep the others waiting. */
const laneShare = 1 / 4
const idleConnectionMilliseconds = 60_000

/** The settings of our connections. A direct connection has no limit on its statements: migrations and copies take long. */
export function clientConfig(connection: Connection, use: "pool" | "direct"): pg.ClientConfig {
  const given: pg.ClientConfig = typeof connection === "string" ? readAddress(connection) : { ...connection }
  const limits = use === "pool" ? { statement_timeout: statementTimeoutMilliseconds } : {}
  return {
    ...given,
    ...limits,
    options: `${given.options ?? ""} -c search_path=${schemaName} -c timezone=UTC -c datestyle=ISO`.trim(),
    idle_in_transaction_session_timeout: use === "pool" ? idleInTransactionTimeoutMilliseconds : 0,
    connectionTimeoutMillis: connectTimeoutMilliseconds,
    keepAlive: true,
    application_name: "signalbox",
    types: columnTypes,
  }
}

/** `options` in an address would replace ours, so it is taken out and joined with them. */
function readAddress(text: string): pg.ClientConfig {
  const match = /^(postgres(?:ql)?:\/\/[^?]*)(?:\?(.*))?$/.exec(text)
  // The text may hold a password, so it is not repeated.
  if (!match)
    throw new AppError("settings.invalid", "DATABASE_URL is no address of the form postgres://user@host:5432/database")
  const parameters = new URLSearchParams(match[2] ?? "")
  const options = parameters.get("options")
  parameters.delete("options")
  const rest = parameters.toString()
  return { connectionString: `${match[1]}${rest && `?${rest}`}`, ...(options === null ? {} : { options }) }
}

/**
 * Opens a pool and checks the server.
 *
 * @throws storage.unavailable, storage.unsupported-version, settings.invalid
 */
export async function openDatabase(options: {
  connection: Connection
  connectionsMax: number
  logger?: StorageLogger
}): Promise<Database> {
  const pool = new pg.Pool({
    ...clientConfig(options.connection, "pool"),
    // For lanes; whoever sends one statement at a time sees no difference.
    pipeline: true,
    max: options.connectionsMax,
    idleTimeoutMillis: idleConnectionMilliseconds,
  })
  pool.on("error", (error) => options.logger?.warn({ reason: error.message }, "an idle database connection was lost"))
  // A connection lost between two statements of a transaction has no statement to fail; the next one reports it.
  pool.on("connect", (client) => void client.on("error", () => {}))
  const database = new PooledDatabase(pool, Math.floor(options.connectionsMax * laneShare))
  try {
    const [row] = await database.query<{ version: number }>(
      "select current_setting('server_version_num')::int as version",
    )
    assert(row, "the version query gives one row")
    const major = Math.floor(row.version / 10_000)
    if (major < serverVersionMin) {
      throw new AppError(
        "storage.unsupported-version",
        `the database is PostgreSQL ${major}, older than ${serverVersionMin}`,
      )
    }
    return database
  } catch (error) {
    await pool.end()
    throw error
  }
}

/** A connection of its own, outside the pool: for LISTEN, migrations, copies. The caller ends it. @throws storage.unavailable */
export async function connectDirect(connection: Connection): Promise<pg.Client> {
  const client = new pg.Client(clientConfig(connection, "direct"))
  // Without a listener a lost connection would end the process; users of long-lived connections add their own.
  client.on("error", () => {})
  try {
    await client.connect()
    return client
  } catch (error) {
    await client.end().catch(() => {})
    throw toStorageError(error, "connecting to the database")
  }
}

class PooledDatabase implements Database {
  readonly pool: pg.Pool
  readonly #lanesMax: number
  #lanes = 0
  #closing: Promise<void> | undefined

  constructor(pool: pg.Pool, lanesMax: number) {
    this.pool = pool
    this.#lanesMax = lanesMax
  }

  async query<Row extends object>(
    text: string,
    values: readonly unknown[] = [],
    options: { name?: string } = {},
  ): Promise<Row[]> {
    const client = await this.#connect()
    try {
      const rows = await runStatement<Row>(client, text, { values, ...options })
      client.release()
      return rows
    } catch (error) {
      client.release(hasCode(error, "storage.unavailable"))
      throw error
    }
  }

  async transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#transactionOnce(work)
      } catch (error) {
        if (!isTransient(error) || attempt >= transactionAttemptsMax) throw error
        await delay(Math.random() * 10 * 2 ** attempt)
      }
    }
  }

  async openLane(): Promise<Lane | undefined> {
    if (this.#lanes >= this.#lanesMax) return undefined
    this.#lanes += 1
    const free = (): void => void (this.#lanes -= 1)
    try {
      return new PooledLane(await this.#connect(), free)
    } catch (error) {
      free()
      throw error
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.pool.end()
    return this.#closing
  }

  async #connect(): Promise<pg.PoolClient> {
    try {
      return await this.pool.connect()
    } catch (error) {
      throw toStorageError(error, "connecting to the database")
    }
  }

  async #transactionOnce<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    const client = await this.#connect()
    const tx = new OpenTransaction(client)
    try {
      const result = await work(tx)
      await tx.commit()
      client.release()
      return result
    } catch (error) {
      client.release(!(await tx.rollBack()))
      throw error
    }
  }
}

class PooledLane implements Lane {
  readonly #client: pg.PoolClient
  readonly #onClose: () => void
  #answered: Promise<unknown> = Promise.resolve()
  #broken = false
  #closed = false

  constructor(client: pg.PoolClient, onClose: () => void) {
    this.#client = client
    this.#onClose = onClose
  }

  query<Row extends object>(
    text: string,
    values: readonly unknown[] = [],
    options: { name?: string } = {},
  ): Promise<Row[]> {
    assert(!this.#closed, "a statement was sent on a lane that was given back")
    const rows = runStatement<Row>(this.#client, text, { values, ...options })
    const heard = rows.catch((error: unknown) => {
      if (hasCode(error, "storage.unavailable")) this.#broken = true
    })
    const before = this.#answered
    this.#answered = heard.then(() => before)
    return rows
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#answered
    this.#client.release(this.#broken)
    this.#onClose()
  }
}
