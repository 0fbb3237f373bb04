/**
 * Background work off the hot path: a graphile-worker in this process that runs the jobs of consumers (fed by the
 * dispatcher) and the scheduled tasks. Owns a pool of its own, since graphile-worker reads column types its own way.
 * A job may run twice (a worker that dies); one that fails for the last time leaves a row in `dead_letter`.
 */
import { EventEmitter } from "node:events"
import { setTimeout as delay } from "node:timers/promises"
import {
  Logger,
  parseCronItems,
  run,
  runMigrations,
  type JobHelpers,
  type Runner,
  type TaskList,
  type WorkerEvents,
} from "graphile-worker"
import pg from "pg"
import { assert } from "@signalbox/kernel/assert"
import { mapBounded } from "@signalbox/kernel/map-bounded"
import { clientConfig, type Connection, type Database, type Sql, type StorageLogger } from "./database.ts"
import {
  addEventJobs,
  attemptsMax,
  eventJob,
  startDispatcher,
  taskNameOf,
  type Consumer,
  type ConsumerContext,
  type Dispatcher,
} from "./dispatcher.ts"
import type { Notifier } from "./notifier.ts"
import type { DeliveredEvent, Expanders } from "./outbox.ts"
import { startServerLease, type ServerLease } from "./server-lease.ts"

/** Work on a schedule. Runs once for each due minute in the whole installation. */
export interface CronTask {
  readonly name: string
  /** Five fields, in UTC. */
  readonly cron: string
  run(context: ConsumerContext): Promise<void>
}

/** Work that is asked for by `addJob`, now or at a time. May run twice (a worker that dies) and must do its work once. */
export interface BackgroundTask {
  readonly name: string
  run(payload: unknown, context: ConsumerContext): Promise<void>
}

export interface BackgroundQueueOptions {
  readonly connection: Connection
  readonly database: Database
  readonly serverId: string
  /** Servers that live at the same time have to have the same. */
  readonly blobStoreId?: string
  readonly consumers: readonly Consumer[]
  readonly cronTasks?: readonly CronTask[]
  readonly tasks?: readonly BackgroundTask[]
  readonly expanders?: Expanders
  /** Of the key that this server signs with. */
  readonly signingKeyId?: string
  readonly notifier?: Notifier
  readonly logger?: StorageLogger
  /** Jobs at the same time in this process. */
  readonly concurrencyMax?: number
  readonly scanMilliseconds?: number
  /** Services whose work this server leaves to others, at first: consumers and tasks whose names begin with theirs. */
  readonly elsewhere?: ReadonlySet<string>
}

export interface BackgroundQueue {
  readonly lease: ServerLease
  /** From now on the work of these services is left to others; what is under way goes on to its end. */
  leave(elsewhere: ReadonlySet<string>): Promise<void>
  /** Waits for running jobs for some seconds, gives the others back, ends. */
  stop(): Promise<void>
}

const defaultConcurrency = 10
const localQueueSize = 100
const localQueueTimeMilliseconds = 10_000
const batchDelayMilliseconds = 10
const pollMilliseconds = 1_000
const restartMilliseconds = 1_000
const stopMilliseconds = 10_000
/** Of the events of one job. */
const eventsAtOnceMax = 5
/** An event that failed beside others is handled again after so long. */
const failedEventMilliseconds = 2_000
const reasonCharactersMax = 2_000

/**
 * Asks for a task to run, by background work: its statement wakes the workers, which a changing operation must not do
 * in its transaction. A second call with the same key, before the first has begun, takes its place.
 */
export async function addJob(
  sql: Sql,
  job: { readonly task: string; readonly key: string; readonly payload: unknown; readonly runAt?: number },
): Promise<void> {
  await sql.query(
    `select graphile_worker.add_job($1, $2::json, run_at := to_timestamp($3::float8 / 1000), max_attempts := $4, job_key := $5)`,
    [`task:${job.task}`, JSON.stringify(job.payload), job.runAt ?? null, attemptsMax, `${job.task}:${job.key}`],
    { name: "background-add-job" },
  )
}

/** Makes or updates the job queue's own schema. Part of migrating a database. */
export async function migrateBackgroundQueue(connection: Connection): Promise<void> {
  const pool = createPool(connection, 1)
  try {
    await runMigrations({ pgPool: pool, logger: quietLogger() })
  } finally {
    await pool.end()
  }
}

export async function startBackgroundQueue(options: BackgroundQueueOptions): Promise<BackgroundQueue> {
  const names = [...options.consumers, ...(options.cronTasks ?? []), ...(options.tasks ?? [])].map(({ name }) => name)
  assert(new Set(names).size === names.length, "consumers and scheduled tasks have names of their own")
  await migrateBackgroundQueue(options.connection)
  const lease = await startServerLease(options)
  const worker = new Worker(options, lease)
  await worker.start()
  const dispatcher: Dispatcher = await startDispatcher(options)
  return {
    lease,
    leave: (elsewhere) => worker.leave(elsewhere),
    async stop() {
      await dispatcher.stop()
      await worker.stop()
      await lease.stop()
    },
  }
}

/** Runs graphile-worker, and runs it again should it end by itself (a database that was away for long). */
class Worker {
  readonly #options: BackgroundQueueOptions
  readonly #lease: ServerLease
  readonly #pool: pg.Pool
  readonly #abort = new AbortController()
  /** Until the name under which jobs get locked is on record, nobody could free them, so no job may be locked. */
  #onRecord: Promise<void> = Promise.resolve()
  #elsewhere: ReadonlySet<string>
  #runner: Runner | undefined
  /** Those that take nothing new and end when what they have under way has ended. */
  readonly #ending = new Map<Runner, Promise<void>>()
  #restarting: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: BackgroundQueueOptions, lease: ServerLease) {
    this.#options = options
    this.#lease = lease
    this.#elsewhere = options.elsewhere ?? new Set()
    this.#pool = createPool(
      options.connection,
      Math.max(4, Math.ceil((options.concurrencyMax ?? defaultConcurrency) / 2)),
    )
    const connect = this.#pool.connect.bind(this.#pool) as (callback?: unknown) => Promise<pg.PoolClient>
    this.#pool.connect = ((callback?: unknown) => this.#onRecord.then(() => connect(callback))) as pg.Pool["connect"]
  }

  async start(): Promise<void> {
    const { logger, cronTasks = [] } = this.#options
    const elsewhere = this.#elsewhere
    const cronItems = cronTasks
      .filter((task) => this.#isHere(task))
      .map(({ name, cron }) => ({ task: `cron:${name}`, match: cron, identifier: name }))
    const events = new EventEmitter() as WorkerEvents
    events.on("pool:create", ({ workerPool }) => {
      // Where recording fails the database is away; the lease's next renewal records the name.
      this.#onRecord = this.#lease.addWorker(workerPool.id).catch(() => {})
    })
    const runner = await run({
      pgPool: this.#pool,
      events,
      taskList: this.#taskList(),
      parsedCronItems: parseCronItems(cronItems),
      noHandleSignals: true,
      logger: quietLogger(logger),
      preset: {
        worker: {
          concurrentJobs: this.#options.concurrencyMax ?? defaultConcurrency,
          pollInterval: pollMilliseconds,
          localQueue: { size: localQueueSize, ttl: localQueueTimeMilliseconds },
          completeJobBatchDelay: batchDelayMilliseconds,
          failJobBatchDelay: batchDelayMilliseconds,
        },
      },
    })
    if (this.#stopped || elsewhere !== this.#elsewhere) {
      this.#end(runner)
      if (!this.#stopped) await this.start()
      return
    }
    this.#runner = runner
    runner.promise.then(
      () => this.#ended(runner, "it ended"),
      (error: unknown) => this.#ended(runner, String(error)),
    )
  }

  /** A runner's tasks are fixed, so another takes its place at once: nothing waits for what is under way. */
  async leave(elsewhere: ReadonlySet<string>): Promise<void> {
    const isSame = elsewhere.size === this.#elsewhere.size && [...elsewhere].every((name) => this.#elsewhere.has(name))
    if (isSame) return
    this.#elsewhere = elsewhere
    // One that is being started looks for itself.
    if (this.#stopped || !this.#runner) return
    this.#end(this.#runner)
    this.#runner = undefined
    await this.start().catch((error: unknown) => this.#startAgain(String(error)))
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#restarting)
    this.#abort.abort()
    if (this.#runner) this.#end(this.#runner)
    const ending = Promise.all(this.#ending.values())
    await Promise.race([ending, delay(stopMilliseconds, undefined, { ref: false })])
    for (const runner of this.#ending.keys()) await runner.kill().catch(() => {})
    await this.#pool.end()
  }

  #end(runner: Runner): void {
    const stopped = Promise.all([runner.stop(), runner.promise]).catch(() => {})
    this.#ending.set(
      runner,
      stopped.then(() => void this.#ending.delete(runner)),
    )
  }

  #ended(runner: Runner, reason: string): void {
    if (this.#stopped || runner !== this.#runner) return
    this.#runner = undefined
    this.#startAgain(reason)
  }

  #startAgain(reason: string): void {
    if (this.#stopped) return
    this.#options.logger?.warn({ reason }, "the job worker ended; starting it again")
    this.#restarting = setTimeout(() => {
      this.start().catch((error: unknown) => this.#startAgain(String(error)))
    }, restartMilliseconds)
  }

  #isHere({ name }: { readonly name: string }): boolean {
    return !this.#elsewhere.has(name.slice(0, Math.max(0, name.indexOf("."))))
  }

  #taskList(): TaskList {
    const tasks: TaskList = {}
    for (const consumer of this.#options.consumers.filter((each) => this.#isHere(each))) {
      tasks[taskNameOf(consumer)] = (payload: unknown, helpers) =>
        this.#handleAll(consumer, payload as readonly DeliveredEvent[], helpers)
    }
    for (const task of (this.#options.tasks ?? []).filter((each) => this.#isHere(each))) {
      tasks[`task:${task.name}`] = (payload: unknown, helpers) => task.run(payload, this.#contextOf(helpers))
    }
    for (const task of (this.#options.cronTasks ?? []).filter((each) => this.#isHere(each))) {
      tasks[`cron:${task.name}`] = (_payload: unknown, helpers) => task.run(this.#contextOf(helpers))
    }
    return tasks
  }

  #contextOf({ job }: JobHelpers): ConsumerContext {
    return { database: this.#options.database, signal: this.#abort.signal, attempt: job.attempts }
  }

  /** Of several events those that fail get jobs of their own, so that none is handled again for another's sake. */
  async #handleAll(consumer: Consumer, events: readonly DeliveredEvent[], helpers: JobHelpers): Promise<void> {
    const [only, ...others] = events
    if (only !== undefined && others.length === 0) return await this.#handle(consumer, only, helpers)
    const context = this.#contextOf(helpers)
    const failing = (failed: readonly DeliveredEvent[]) => (error: unknown) => {
      const about = { consumer: consumer.name, event: failed[0]?.id, count: failed.length, reason: String(error) }
      this.#options.logger?.warn(about, "handling events failed")
      return failed
    }
    const failed = consumer.handleTogether
      ? [await consumer.handleTogether(events, context).then(() => [], failing(events))]
      : await mapBounded(events, eventsAtOnceMax, (event) =>
          consumer.handle(event, context).then(() => [], failing([event])),
        )
    await addEventJobs(
      this.#options.database,
      failed.flat().map((event) => eventJob(consumer, [event], failedEventMilliseconds)),
    )
  }

  async #handle(consumer: Consumer, event: DeliveredEvent, helpers: JobHelpers): Promise<void> {
    try {
      await consumer.handle(event, this.#contextOf(helpers))
    } catch (error) {
      const { attempts, max_attempts: attemptsMax } = helpers.job
      this.#options.logger?.warn(
        { consumer: consumer.name, event: event.id, attempts, reason: String(error) },
        "handling an event failed",
      )
      if (attempts >= attemptsMax) await this.#bury(consumer, event, { attempts, reason: String(error) })
      throw error
    }
  }

  async #bury(
    consumer: Consumer,
    event: DeliveredEvent,
    { attempts, reason }: { attempts: number; reason: string },
  ): Promise<void> {
    await this.#options.database.query(
      `insert into dead_letter (account, aggregate_id, event_id, consumer, attempts, reason, event)
       values ($1, $2, $3, $4, $5, $6, $7)
       on conflict (aggregate_id, event_id, consumer) do update set attempts = excluded.attempts, reason = excluded.reason, failed_at = now()`,
      [
        event.account,
        event.aggregateId,
        event.id,
        consumer.name,
        attempts,
        reason.slice(0, reasonCharactersMax),
        JSON.stringify(event),
      ],
    )
  }
}

function createPool(connection: Connection, connectionsMax: number): pg.Pool {
  const { types: _ours, ...config } = clientConfig(connection, "direct")
  const pool = new pg.Pool({ ...config, max: connectionsMax, application_name: "signalbox-jobs" })
  pool.on("error", () => {})
  pool.on("connect", (client) => void client.on("error", () => {}))
  return pool
}

function quietLogger(logger?: StorageLogger): Logger {
  return new Logger(() => (level, message) => {
    // A job holds no connection while it works, so fewer connections than jobs are right for us.
    if (message.includes("having maxPoolSize")) return
    if (level === "error" || level === "warning") logger?.warn({ from: "job worker" }, message)
  })
}
