/**
 * The row by which a server shows that it lives. Owns one row of `server`, renewed by the database's clock; reaps the
 * rows of servers that stopped renewing and frees the jobs that their workers hold (D10). Started once a process.
 */
import { AppError } from "@signalbox/kernel/app-error"
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

/** @throws storage.blob-store-not-shared where a server that lives uses another blob store */
export async function startServerLease(options: {
  database: Database
  serverId: string
  /** Which blob store the server uses; left out where it uses none. */
  blobStoreId?: string
  /** Of the key that the server signs with: others believe it for as long as the lease holds. */
  signingKeyId?: string
  logger?: StorageLogger
}): Promise<ServerLease> {
  const { database, serverId, logger } = options
  const workerIds = new Set<string>()
  let stopped = false
  let turn: Promise<void> = Promise.resolve()
  let timer: NodeJS.Timeout | undefined

  const renew = async (): Promise<void> => {
    await database.query(
      `insert into server (id, worker_ids, leased_until, blob_store, signing_key)
       values ($1, $2, clock_timestamp() + make_interval(secs => $3), $4, $5)
       on conflict (id) do update set worker_ids = excluded.worker_ids, leased_until = excluded.leased_until`,
      [serverId, [...workerIds], leaseSeconds, options.blobStoreId ?? null, options.signingKeyId ?? null],
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
  if (options.blobStoreId !== undefined) await refuseOtherBlobStores(database, serverId, options.blobStoreId)
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

/** Looks after its own row is there, so that of two servers that start at once at least one sees the other. */
async function refuseOtherBlobStores(sql: Sql, serverId: string, blobStoreId: string): Promise<void> {
  const [other] = await sql.query<{ id: string }>(
    `select id from server where leased_until >= clock_timestamp() and id <> $1 and blob_store <> $2 limit 1`,
    [serverId, blobStoreId],
  )
  if (!other) return
  await sql.query("delete from server where id = $1", [serverId])
  throw new AppError(
    "storage.blob-store-not-shared",
    `the server ${other.id} uses another blob store than this one; one that was killed counts for ${leaseSeconds} s more`,
  )
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

/** SQL: whether the server that a column names is alive by its lease. */
export function liveServer(column: string): string {
  return `exists (select from server v where v.id = ${column} and v.leased_until >= clock_timestamp())`
}

/** The servers whose lease holds now. */
export async function listLiveServers(sql: Sql): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    "select id from server where leased_until >= clock_timestamp() order by id",
  )
  return rows.map(({ id }) => id)
}

/** The public key (PEM) of that id, where a server that lives signs with it. */
export async function findLivingKey(sql: Sql, keyId: string): Promise<string | undefined> {
  const [row] = await sql.query<{ key: string }>(
    `select k.public_key as key from signing_keys k join server s on s.signing_key = k.key_id
     where k.key_id = $1 and s.leased_until >= clock_timestamp() limit 1`,
    [keyId],
    { name: "storage-living-key" },
  )
  return row?.key
}
