/**
 * Turns committed events into jobs, once for each consumer that wants them: reading the outbox from the consumers'
 * cursors, adding the jobs and moving the cursors are one transaction, and the cursors' rows are locked meanwhile, so any
 * number of servers may run a dispatcher. Consumers that have come equally far, nearly always all of them, share one
 * reading. A job's key is consumer and (first) event id. Woken by a notice, else by its scan.
 */
import { hasCode } from "@signalbox/kernel/app-error"
import type { Database, Sql, StorageLogger, Tx } from "./database.ts"
import type { Notifier } from "./notifier.ts"
import { isTypeWanted, readEvents, type DeliveredEvent, type EventPage, type Expanders } from "./outbox.ts"

/** A part of the server that follows events. Its handler may see an event twice and must do its work once. */
export interface Consumer {
  /** Kept for ever: the cursor goes by this name. */
  readonly name: string
  /** Types, and patterns such as `execution.*`; all where absent. A function is asked before each batch. */
  readonly types?: readonly string[] | ((sql: Sql) => Promise<readonly string[]>)
  /** Whether there is anything to do about an event of these types; asked before a job is made for it. Pure. */
  isWanted?(event: DeliveredEvent): boolean
  /**
   * The most events of one job, 1 where absent. More are cheaper where there are many; they are handled at once, and each
   * that fails has a job of its own from then on.
   */
  readonly eventsPerJobMax?: number
  handle(event: DeliveredEvent, context: ConsumerContext): Promise<void>
  /** In the place of `handle`, where the events of a job are cheaper together: where it fails all of them have failed. */
  handleTogether?(events: readonly DeliveredEvent[], context: ConsumerContext): Promise<void>
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
/** Between two looks, so that where much happens many events share the statements of one; a lone event doesn't wait. */
const restMilliseconds = 40
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
  const dispatchTo = (some: readonly Consumer[]): Promise<boolean> => dispatchOnce(options, some)
  const failed = (consumer: Consumer) => (error: unknown) => {
    logger?.warn({ consumer: consumer.name, reason: String(error) }, "dispatching events failed; trying again")
    return false
  }

  const run = async (): Promise<void> => {
    while (!stopped) {
      const more = await dispatchTo(consumers).catch(async () => {
        // One that can't be served must not keep the others waiting.
        let isMore = false
        for (const consumer of consumers) isMore = (await dispatchTo([consumer]).catch(failed(consumer))) || isMore
        return isMore
      })
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

/** Dispatches one batch. True where more may wait. */
async function dispatchOnce(options: DispatcherOptions, consumers: readonly Consumer[]): Promise<boolean> {
  const names = consumers.map(({ name }) => name)
  return options.database.transaction(async (tx) => {
    const rows = await tx.query<{ name: string; cursor: string | null }>(
      "select name, cursor from consumer where name = any ($1) order by name for update skip locked",
      [names],
      { name: "consumer-lock" },
    )
    const present = rows.flatMap(({ name, cursor }) => {
      const consumer = consumers.find((each) => each.name === name)
      return consumer ? [{ consumer, cursor }] : []
    })
    let isMore = false
    const jobs: Job[] = []
    const moved: Array<{ name: string; cursor: string }> = []
    for (const [from, group] of Map.groupBy(present, ({ cursor }) => cursor)) {
      const readers = await Promise.all(group.map(({ consumer }) => readerOf(tx, consumer)))
      const { events, cursor, more } = await readFor(options, tx, { readers, from })
      if (cursor === undefined || cursor === from) continue
      isMore ||= more
      for (const reader of readers) jobs.push(...jobsOf(reader, events))
      for (const { consumer } of group) moved.push({ name: consumer.name, cursor })
    }
    await addEventJobs(tx, jobs)
    await moveCursors(tx, moved)
    return isMore
  })
}

interface Reader {
  readonly consumer: Consumer
  /** As they are now; all where undefined. */
  readonly types: readonly string[] | undefined
}

async function readerOf(tx: Tx, consumer: Consumer): Promise<Reader> {
  return { consumer, types: typeof consumer.types === "function" ? await consumer.types(tx) : consumer.types }
}

/** What any of these readers wants after a cursor that they share. */
async function readFor(
  { expanders, logger }: DispatcherOptions,
  tx: Tx,
  { readers, from }: { readonly readers: readonly Reader[]; readonly from: string | null },
): Promise<EventPage> {
  const wanted = readers.map(({ types }) => types)
  const types = wanted.includes(undefined) ? undefined : [...new Set(wanted.flatMap((each) => each ?? []))]
  const read = (after: string | undefined): Promise<EventPage> =>
    readEvents(tx, { limit: batchMax, after, ...(types && { types }), ...(expanders && { expanders }) })
  return await read(from ?? undefined).catch((error: unknown) => {
    if (!hasCode(error, "events.position-expired")) throw error
    // Stopped for longer than events are kept: what is gone is gone, the rest is not to be lost too.
    logger?.warn(
      { consumers: readers.map(({ consumer }) => consumer.name) },
      "events that were not handled are past their retention; going on with the oldest that is kept",
    )
    return read(undefined)
  })
}

interface Job {
  readonly task: string
  readonly key: string
  readonly events: readonly DeliveredEvent[]
  readonly delayMilliseconds: number
}

function jobsOf({ consumer, types }: Reader, events: readonly DeliveredEvent[]): Job[] {
  const { eventsPerJobMax = 1 } = consumer
  const wanted = events.filter(
    (event) => (types === undefined || isTypeWanted(types, event.type)) && consumer.isWanted?.(event) !== false,
  )
  return Array.from({ length: Math.ceil(wanted.length / eventsPerJobMax) }, (_, index) =>
    eventJob(consumer, wanted.slice(index * eventsPerJobMax, (index + 1) * eventsPerJobMax)),
  )
}

/** A job that handles these events; there is at least one. */
export function eventJob(consumer: Consumer, events: readonly DeliveredEvent[], delayMilliseconds = 0): Job {
  return { task: taskNameOf(consumer), key: `${consumer.name}:${events[0]?.id}`, events, delayMilliseconds }
}

export async function addEventJobs(sql: Sql, jobs: readonly Job[]): Promise<void> {
  if (jobs.length === 0) return
  const rows = jobs.map(({ events, delayMilliseconds: delay, ...job }) => ({ ...job, payload: events, delay }))
  await sql.query(
    `select count(*) from graphile_worker.add_jobs(array(
       select row (task, payload, null, now() + make_interval(secs => delay / 1000), $1, key, null, null)::graphile_worker.job_spec
       from jsonb_to_recordset($2) as job (task text, key text, payload json, delay float8)))`,
    [attemptsMax, JSON.stringify(rows)],
    { name: "consumer-add-jobs" },
  )
}

async function moveCursors(
  tx: Tx,
  moved: ReadonlyArray<{ readonly name: string; readonly cursor: string }>,
): Promise<void> {
  if (moved.length === 0) return
  await tx.query(
    `update consumer set cursor = m.cursor, updated_at = now()
     from unnest($1::text[], $2::text[]) as m (name, cursor) where consumer.name = m.name`,
    [moved.map(({ name }) => name), moved.map(({ cursor }) => cursor)],
    { name: "consumer-move" },
  )
}

/** Waits for a time or, after a rest, for a call of `now`, whichever is first; a call while nobody waits is not lost. */
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
        const resting = setTimeout(rested, restMilliseconds)
        function done(): void {
          clearTimeout(timer)
          clearTimeout(resting)
          due = false
          resume = undefined
          resolve()
        }
        function rested(): void {
          resume = done
          if (due) done()
        }
      })
    },
  }
}
