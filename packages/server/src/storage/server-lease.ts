/**
 * The row by which a server shows that it lives. Owns one row of `server`, renewed by the database's clock; reaps the
 * rows of servers that stopped renewing and frees the jobs that their workers hold (D10). Started once a process.
 */
import type { Database, Sql, StorageLogger } from "./database.ts"

export const leaseSeconds = 6
export const renewMilliseconds = 2_000

export interface ServerLease {
  readonly serverId: string
  /** Names of job workers of this server, to be freed should it die. Resolves once they are on record. */
  addWorker(workerId: string): Promise<void>
  /** Gives the row up, so that nobody has to wait for it to lapse. */
  stop(): Promise<void>
}

export async function startServerLease(options: {
  database: Database
  serverId: string
  logger?: StorageLogger
}): Promise<ServerLease> {
  const { database, serverId, logger } = options
  const workerIds = new Set<string>()
  let stopped = false
  let turn: Promise<void> = Promise.resolve()
  let timer: NodeJS.Timeout | undefined

  const renew = async (): Promise<void> => {
    await database.query(
      `insert into server (id, worker_ids, leased_until) values ($1, $2, clock_timestamp() + make_interval(secs => $3))
       on conflict (id) do update set worker_ids = excluded.worker_ids, leased_until = excluded.leased_until`,
      [serverId, [...workerIds], leaseSeconds],
    )
  }
  const work = async (): Promise<void> => {
    try {
      await renew()
      const lapsed = await reapServers(database)
      if (lapsed.length > 0) logger?.warn({ servers: lapsed }, "took over from servers whose lease lapsed")
    } catch (error) {
      logger?.warn({ reason: String(error) }, "renewing the server's lease failed; trying again")
    }
    if (stopped) return
    timer = setTimeout(() => {
      turn = work()
    }, renewMilliseconds)
  }
  await renew()
  turn = work()

  return {
    serverId,
    async addWorker(workerId) {
      workerIds.add(workerId)
      await renew()
    },
    async stop() {
      stopped = true
      await turn
      clearTimeout(timer)
      await database.query("update server set leased_until = '-infinity' where id = $1", [serverId])
      await reapServers(database)
    },
  }
}

/** Removes lapsed servers and frees what their workers hold, in one statement, so that one of many reapers does it. */
async function reapServers(sql: Sql): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    `with lapsed as (
       delete from server where id in (select id from server where leased_until < clock_timestamp() for update skip locked)
       returning id, worker_ids),
     freed as (
       select graphile_worker.force_unlock_workers(array_agg(worker)) from lapsed, unnest(worker_ids) as worker
       having count(*) > 0)
     select id, (select count(*) from freed) as freed from lapsed`,
  )
  return rows.map(({ id }) => id)
}

/** The servers whose lease holds now. */
export async function listLiveServers(sql: Sql): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    "select id from server where leased_until >= clock_timestamp() order by id",
  )
  return rows.map(({ id }) => id)
}
