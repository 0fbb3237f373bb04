/**
 * A PostgreSQL of our own, for installations without DATABASE_URL. Owns `<data>/postgres` (the cluster), the programs
 * made runnable in `<data>/postgres-runtime`, the socket directory of each start, and the processes it starts.
 * Invariants: one live server a cluster (postmaster.pid is the lock); a cluster appears under its name only when it is
 * whole; PostgreSQL listens on a Unix socket that its own user alone can reach; when the server dies, however, a
 * watcher shuts PostgreSQL down. Called by compose and the test kit only.
 */
import { setTimeout as delay } from "node:timers/promises"
import { spawn, type ChildProcess } from "node:child_process"
import { chmod, chown, mkdir, mkdtemp, readdir, realpath, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { AppError } from "@signalbox/kernel/app-error"
import { connectDirect, type Connection, type StorageLogger } from "./database.ts"
import { initializeCluster, removeLeftovers, type ClusterPlace } from "./postgres-cluster.ts"
import { preparePostgresBinaries } from "./postgres-binaries.ts"
import { toPostgresFailure } from "./postgres-failure.ts"
import { clusterNameSetting, findClusterHolder, findPostmasterFile } from "./postmaster-file.ts"
import { findProcess, ownIdentity } from "./process-identity.ts"
import { findUnprivilegedAccount, isRoot } from "./unix-account.ts"

export interface PrivatePostgres {
  readonly connection: Connection
  /** Of the present PostgreSQL; another one after it died and was started again. */
  readonly processId: number
  readonly majorVersion: number
  /** Shuts PostgreSQL down in order. Later calls wait for the same end. */
  stop(): Promise<void>
}

export interface PrivatePostgresOptions {
  /** The server's data directory; made if missing. PostgreSQL keeps its files in folders of it. */
  readonly dataDirectory: string
  readonly logger?: StorageLogger
  /** PostgreSQL settings that replace or add to ours. */
  readonly settings?: Readonly<Record<string, string>>
}

const databaseName = "signalbox"
const superuser = "signalbox"
const port = 5432
const socketPrefix = "socket-"
/** The kernel's limit is 107 bytes on Linux and 103 on macOS. */
const socketPathBytesMax = 103
const readyPollMilliseconds = 10
/** Recovery after a crash replays up to `max_wal_size`. */
const startTimeoutMilliseconds = 300_000
const startAttemptsMax = 50
const startRetryMilliseconds = 200
const fastStopTimeoutMilliseconds = 30_000
const immediateStopTimeoutMilliseconds = 10_000
const logLinesKept = 200
const restartsMax = 20

/** Durable, and small for a machine that does other work too. */
const baseSettings: Readonly<Record<string, string>> = {
  listen_addresses: "",
  unix_socket_permissions: "0700",
  max_connections: "100",
  shared_buffers: "64MB",
  fsync: "on",
  synchronous_commit: "on",
  full_page_writes: "on",
  wal_level: "minimal",
  max_wal_senders: "0",
  min_wal_size: "64MB",
  max_wal_size: "512MB",
  max_logical_replication_workers: "0",
  max_parallel_workers_per_gather: "0",
  io_method: "sync",
  jit: "off",
  autovacuum_naptime: "15s",
  log_min_messages: "warning",
  log_line_prefix: "",
  log_checkpoints: "off",
  timezone: "UTC",
}

/**
 * Starts the private PostgreSQL of a data directory, after making it the first time, or recovering it after a crash.
 *
 * @throws storage.data-directory-locked, storage.data-directory-unusable, storage.data-version-mismatch,
 *   storage.disk-full, storage.platform-unsupported
 */
export async function startPrivatePostgres(options: PrivatePostgresOptions): Promise<PrivatePostgres> {
  const data = await makeDataDirectory(options.dataDirectory)
  const cluster = join(data, "postgres")
  const account = await findUnprivilegedAccount(cluster)
  const binaries = await preparePostgresBinaries(join(data, "postgres-runtime"), account)
  const place: ClusterPlace = { data, cluster, binaries, identity: await ownIdentity(), ...(account && { account }) }
  await initializeCluster(place)
  await releaseCluster(cluster, options.logger)
  const socketDirectory = await makeSocketDirectory(place)
  try {
    const running = await startWithRetries(place, socketDirectory, options)
    const connection: Connection = { host: socketDirectory, port, user: superuser, database: databaseName }
    await ensureDatabase(connection)
    return new Supervisor(running, connection, { place, socketDirectory, options })
  } catch (error) {
    await removeSocketDirectory(socketDirectory)
    throw error
  }
}

/**
 * Makes the data directory and gives its real path. When root, the unprivileged user has to pass through it (not to
 * read it); a directory with foreign files in it keeps its mode.
 */
export async function makeDataDirectory(path: string): Promise<string> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
    const names = await readdir(path)
    if (isRoot() && (names.length === 0 || names.some((name) => name.startsWith("postgres")))) await chmod(path, 0o711)
    return await realpath(path)
  } catch (cause) {
    throw toPostgresFailure(`making the data directory ${path}`, [String(cause)], { cause })
  }
}

/** Stops a PostgreSQL whose server is gone. @throws storage.data-directory-locked where its server lives */
async function releaseCluster(cluster: string, logger?: StorageLogger): Promise<void> {
  const holder = await findClusterHolder(cluster)
  if (holder.kind === "none") return
  if (holder.kind === "live-server") {
    throw new AppError(
      "storage.data-directory-locked",
      `PostgreSQL ${holder.processId} of another server runs on ${cluster}`,
    )
  }
  logger?.info({ processId: holder.processId }, "stopping the database that a killed server left behind")
  await stopProcess(holder.processId, async () => (await findProcess(holder.processId)) === undefined)
}

/** A new one for each start, so that what a killed PostgreSQL left in the last one is not in the way. */
async function makeSocketDirectory({ data, account, identity }: ClusterPlace): Promise<string> {
  const outside = isRoot() ? "/tmp" : tmpdir()
  await removeLeftovers(data, socketPrefix)
  await removeLeftovers(outside, `signalbox-${socketPrefix}`)
  const inside = join(data, `${socketPrefix}${identity}-`)
  const fits = Buffer.byteLength(`${inside}XXXXXX/.s.PGSQL.${port}`) <= socketPathBytesMax
  const directory = await mkdtemp(fits ? inside : join(outside, `signalbox-${socketPrefix}${identity}-`))
  if (account) await chown(directory, account.uid, account.gid)
  await chmod(directory, 0o700)
  return directory
}

const removeSocketDirectory = (directory: string): Promise<void> => rm(directory, { recursive: true, force: true })

interface Running {
  readonly child: ChildProcess
  readonly watcher: ChildProcess
  readonly ended: Promise<void>
}

/** Backends of a killed postmaster may hold its shared memory for a moment; only that is waited for. */
async function startWithRetries(
  place: ClusterPlace,
  socketDirectory: string,
  options: PrivatePostgresOptions,
): Promise<Running> {
  for (let attempt = 1; ; attempt++) {
    const result = await startOnce(place, socketDirectory, options)
    if (!Array.isArray(result)) return result
    const lingering = result.some((line) => line.includes("pre-existing shared memory block"))
    if (!lingering || attempt >= startAttemptsMax)
      throw toPostgresFailure(`starting PostgreSQL on ${place.cluster}`, result)
    await delay(startRetryMilliseconds)
  }
}

/** A running PostgreSQL that answers, or what it wrote before it ended. */
async function startOnce(
  place: ClusterPlace,
  socketDirectory: string,
  options: PrivatePostgresOptions,
): Promise<Running | string[]> {
  const { cluster, binaries, account } = place
  const settings = { ...baseSettings, ...options.settings, unix_socket_directories: quoteSetting(socketDirectory) }
  const args = ["-D", cluster, "-p", String(port), "-c", clusterNameSetting(place.identity)]
  for (const [name, value] of Object.entries(settings)) args.push("-c", `${name}=${value}`)
  // A session of its own, so that Ctrl-C in a terminal reaches the server alone, which then stops its database in order.
  const spawned = { ...account, cwd: "/", detached: true }
  const child = spawn(binaries.postgres, args, {
    ...spawned,
    env: { ...binaries.environment },
    stdio: ["ignore", "ignore", "pipe"],
  })
  const lines = keepLines(child, options.logger)
  const ended = new Promise<void>((resolve) =>
    child
      .once("close", () => resolve())
      .once("error", (error) => {
        lines.push(error.message)
        resolve()
      }),
  )
  let over = false
  void ended.then(() => (over = true))
  const deadline = Date.now() + startTimeoutMilliseconds
  while (!over && Date.now() < deadline) {
    const file = await findPostmasterFile(cluster)
    if (file?.ready && file.processId === child.pid) return { child, ended, watcher: startWatcher(child.pid, spawned) }
    await delay(readyPollMilliseconds)
  }
  if (!over) child.kill("SIGQUIT")
  await ended
  return lines
}

/** A list setting: each part may be quoted, and ours holds one part. */
const quoteSetting = (path: string): string => `"${path.replaceAll('"', '""')}"`

function keepLines(child: ChildProcess, logger?: StorageLogger): string[] {
  const lines: string[] = []
  if (!child.stderr) return lines
  createInterface({ input: child.stderr }).on("line", (line) => {
    lines.push(line)
    if (lines.length > logLinesKept) lines.shift()
    // An error of a statement is told to its caller, who knows what it means.
    if (/^(WARNING|FATAL|PANIC)/.test(line)) logger?.warn({ line }, "the private database reports")
  })
  return lines
}

/**
 * Its standard input is a pipe from this process, so it ends when this process does, even by kill -9; then PostgreSQL
 * is asked to shut down.
 */
function startWatcher(processId: number, options: { cwd: string; detached: boolean }): ChildProcess {
  const script = 'trap "" INT TERM HUP; while read -r line; do :; done; kill -INT "$1" 2>/dev/null'
  const watcher = spawn("/bin/sh", ["-c", script, "sh", String(processId)], {
    ...options,
    stdio: ["pipe", "ignore", "ignore"],
  })
  watcher.on("error", () => {})
  watcher.stdin.on("error", () => {})
  return watcher
}

/** The first connection also proves that PostgreSQL answers. */
async function ensureDatabase(connection: Connection): Promise<void> {
  const client = await connectDirect({ ...(connection as object), database: "postgres" })
  try {
    const found = await client.query("select 1 from pg_database where datname = $1", [databaseName])
    if (found.rows.length === 0) await client.query(`create database ${databaseName}`)
  } finally {
    await client.end()
  }
}

/** Keeps one PostgreSQL running until it is stopped: should its process die (out of memory, say), starts it again. */
class Supervisor implements PrivatePostgres {
  readonly connection: Connection
  readonly majorVersion: number
  readonly #place: ClusterPlace
  readonly #socketDirectory: string
  readonly #options: PrivatePostgresOptions
  #running: Running
  #restarts = 0
  #restarting: Promise<void> = Promise.resolve()
  #stopping: Promise<void> | undefined

  constructor(
    running: Running,
    connection: Connection,
    facts: { place: ClusterPlace; socketDirectory: string; options: PrivatePostgresOptions },
  ) {
    this.connection = connection
    this.majorVersion = facts.place.binaries.majorVersion
    this.#place = facts.place
    this.#socketDirectory = facts.socketDirectory
    this.#options = facts.options
    this.#running = running
    this.#superviseRunning()
  }

  get processId(): number {
    return this.#running.child.pid ?? 0
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    await this.#restarting
    const { child, watcher, ended } = this.#running
    let over = child.exitCode !== null || child.signalCode !== null
    void ended.then(() => (over = true))
    if (!over) await stopProcess(this.processId, async () => over)
    watcher.kill("SIGKILL")
    await removeSocketDirectory(this.#socketDirectory)
  }

  #superviseRunning(): void {
    const running = this.#running
    void running.ended.then(() => {
      running.watcher.kill("SIGKILL")
      if (!this.#stopping) this.#restarting = this.#restart()
    })
  }

  async #restart(): Promise<void> {
    const { logger } = this.#options
    if (++this.#restarts > restartsMax)
      return logger?.warn({ restartsMax }, "the private database died too often; it stays down")
    logger?.warn({ restarts: this.#restarts }, "the private database died; starting it again")
    try {
      this.#running = await startWithRetries(this.#place, this.#socketDirectory, this.#options)
      this.#superviseRunning()
    } catch (error) {
      logger?.warn({ reason: String(error) }, "starting the private database again failed")
    }
  }
}

/** Fast shutdown, and an immediate one (recovered at the next start) where that takes too long. */
async function stopProcess(processId: number, isOver: () => Promise<boolean>): Promise<void> {
  const steps = [
    { signal: "SIGINT", timeoutMilliseconds: fastStopTimeoutMilliseconds },
    { signal: "SIGQUIT", timeoutMilliseconds: immediateStopTimeoutMilliseconds },
  ] as const
  for (const { signal, timeoutMilliseconds } of steps) {
    try {
      process.kill(processId, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
    }
    const deadline = Date.now() + timeoutMilliseconds
    while (Date.now() < deadline) {
      if (await isOver()) return
      await delay(readyPollMilliseconds)
    }
  }
  throw new AppError("storage.data-directory-unusable", `PostgreSQL ${processId} does not end; kill it by hand`)
}
