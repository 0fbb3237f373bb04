/**
 * Turns committed events into jobs, once for each consumer that wants them: reading the outbox from the consumer's
 * cursor, adding the jobs and moving the cursor are one transaction, and the cursor's row is locked meanwhile, so any
 * number of servers may run a dispatcher. A job's key is consumer and event id. Woken by a notice, else by its scan.
 */
import { hasCode } from "@signalbox/kernel/app-error"
import type { Database, Sql, StorageLogger, Tx } from "./database.ts"
import type { Notifier } from "./notifier.ts"
import { readEvents, type DeliveredEvent, type EventPage, type Expanders } from "./outbox.ts"

/** A part of the server that follows events. Its handler may see an event twice and must do its work once. */
export interface Consumer {
  /** Kept for ever: the cursor goes by this name. */
  readonly name: string
  /** Types, and patterns such as `execution.*`; all where absent. A function is asked before each batch. */
  readonly types?: readonly string[] | ((sql: Sql) => Promise<readonly string[]>)
  handle(event: DeliveredEvent, context: ConsumerContext): Promise<void>
}

export interface ConsumerContext {
  readonly database: Database
  /** Aborted when the server stops; what was not finished runs again elsewhere. */
  readonly signal: AbortSignal
  /** 1 at the first try. */
  readonly attempt: number
}

export interface DispatcherOptions {
  readonly database: Database
  readonly consumers: readonly Consumer[]
  readonly expanders?: Expanders
  readonly notifier?: Notifier
  readonly logger?: StorageLogger
  readonly scanMilliseconds?: number
}

/** Notified after a commit that wrote events; a hint that spares waiting for the scan. */
export const outboxChannel = "signalbox_outbox"
export const defaultScanMilliseconds = 500
export const attemptsMax = 12
const batchMax = 500

export const taskNameOf = (consumer: { name: string }): string => `event:${consumer.name}`

export interface Dispatcher {
  stop(): Promise<void>
}

export async function startDispatcher(options: DispatcherOptions): Promise<Dispatcher> {
  const { database, consumers, logger } = options
  const names = consumers.map(({ name }) => name)
  await database.query("insert into consumer (name) select unnest($1::text[]) on conflict do nothing", [names])
  const wake = createWaker(options.scanMilliseconds ?? defaultScanMilliseconds)
  const unsubscribe = options.notifier?.subscribe(outboxChannel, () => wake.now())
  let stopped = false

  const run = async (): Promise<void> => {
    while (!stopped) {
      let more = false
      for (const consumer of consumers) {
        // One that can't be served must not keep the others waiting.
        try {
          more = (await dispatchOnce(options, consumer)) || more
        } catch (error) {
          const reason = String(error)
          logger?.warn({ consumer: consumer.name, reason }, "dispatching events failed; trying again")
        }
      }
      if (!more) await wake.wait()
    }
  }
  const running = run()
  return {
    async stop() {
      stopped = true
      unsubscribe?.()
      wake.now()
      await running
    },
  }
}

/** Dispatches one batch for one consumer. True where more may wait. */
async function dispatchOnce(options: DispatcherOptions, consumer: Consumer): Promise<boolean> {
  const { database, expanders, logger } = options
  return database.transaction(async (tx) => {
    const [row] = await tx.query<{ cursor: string | null }>(
      "select cursor from consumer where name = $1 for update skip locked",
      [consumer.name],
      { name: "consumer-lock" },
    )
    if (!row) return false
    const types = typeof consumer.types === "function" ? await consumer.types(tx) : consumer.types
    const read = (after: string | undefined): Promise<EventPage> =>
      readEvents(tx, { limit: batchMax, after, ...(types && { types }), ...(expanders && { expanders }) })
    const { events, cursor, more } = await read(row.cursor ?? undefined).catch((error: unknown) => {
      if (!hasCode(error, "events.position-expired")) throw error
      // Stopped for longer than events are kept: what is gone is gone, the rest is not to be lost too.
      logger?.warn(
        { consumer: consumer.name },
        "events that were not handled are past their retention; going on with the oldest that is kept",
      )
      return read(undefined)
    })
    if (cursor === undefined || cursor === row.cursor) return false
    await addJobs(tx, consumer, events)
    await tx.query("update consumer set cursor = $2, updated_at = now() where name = $1", [consumer.name, cursor], {
      name: "consumer-move",
    })
    return more
  })
}

async function addJobs(tx: Tx, consumer: Consumer, events: readonly DeliveredEvent[]): Promise<void> {
  if (events.length === 0) return
  const jobs = events.map((event) => ({ key: `${consumer.name}:${event.id}`, payload: event }))
  await tx.query(
    `select count(*) from graphile_worker.add_jobs(array(
       select row ($1, payload, null, null, $2, key, null, null)::graphile_worker.job_spec
       from jsonb_to_recordset($3) as job (key text, payload json)))`,
    [taskNameOf(consumer), attemptsMax, JSON.stringify(jobs)],
    { name: "consumer-add-jobs" },
  )
}

/** Waits for a time or for a call of `now`, whichever is first; a call while nobody waits is not lost. */
function createWaker(milliseconds: number): { now(): void; wait(): Promise<void> } {
  let due = false
  let resume: (() => void) | undefined
  return {
    now() {
      due = true
      resume?.()
    },
    wait() {
      return new Promise((resolve) => {
        const timer = setTimeout(done, milliseconds)
        function done(): void {
          clearTimeout(timer)
          due = false
          resume = undefined
          resolve()
        }
        resume = done
        if (due) done()
      })
    },
  }
}
