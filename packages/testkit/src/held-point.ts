import { setTimeout as delay } from "node:timers/promises"
import { connectDirect, type Connection, type Sql } from "@signalbox/server/storage/database"
import { sqlOf } from "@signalbox/server/storage/statements"

type DirectClient = Awaited<ReturnType<typeof connectDirect>>

/**
 * Holds a server still at one point: a lock on what its next statement needs. The server is where the test wants it once
 * a statement of its own waits for that lock.
 */
export class HeldPoint {
  readonly #client: DirectClient
  readonly #sql: Sql

  private constructor(client: DirectClient) {
    this.#client = client
    this.#sql = sqlOf(client)
  }

  /** Nobody writes to the table until `release`; reading goes on. */
  static async onTable(connection: Connection, table: string): Promise<HeldPoint> {
    return await HeldPoint.#open(connection, `lock table ${table} in share mode`)
  }

  /** Nobody else locks the request's row until `release`. */
  static async onRequest(connection: Connection, id: string): Promise<HeldPoint> {
    return await HeldPoint.#open(connection, "select 1 from approval_requests where id = $1 for update", [id])
  }

  static async #open(connection: Connection, text: string, values: string[] = []): Promise<HeldPoint> {
    const client = await connectDirect(connection)
    await client.query("set idle_in_transaction_session_timeout = 0")
    await client.query("begin")
    await client.query(text, values)
    return new HeldPoint(client)
  }

  /** Until so many statements with these words wait for a lock. */
  async untilReached(words: string, count = 1): Promise<void> {
    const end = Date.now() + reachedMilliseconds
    while ((await this.#waiting(words)) < count) {
      if (Date.now() > end) throw new Error(`nothing came to wait with: ${words}`)
      await delay(20)
    }
  }

  /** As when the network between server and database is cut: what waits is never carried out. */
  async cutOff(): Promise<void> {
    await this.#client.query("select pg_stat_clear_snapshot()")
    await this.#sql.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock' and pid <> pg_backend_pid()`,
    )
  }

  async release(): Promise<void> {
    await this.#client.query("rollback")
    await this.#client.end()
  }

  async #waiting(words: string): Promise<number> {
    // Within a transaction the view stays as it was when it was first looked at.
    await this.#client.query("select pg_stat_clear_snapshot()")
    const rows = await this.#sql.query(
      `select 1 from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock' and query ilike '%' || $1 || '%'
         and pid <> pg_backend_pid()`,
      [words],
    )
    return rows.length
  }
}

const reachedMilliseconds = 60_000
