/**
 * Fires what is due of requests: reminders, escalations, expiry, questions that lapse. Every server looks; what
 * is due stands in the rows, and each is decided about under its own lock, so several servers may look at once and
 * each timer fires once. The work of a look is bounded; what is left is seen by the next one.
 */
import { mapBounded } from "@signalbox/kernel/map-bounded"
import { newId } from "@signalbox/kernel/id"
import type { NewEvent } from "../../router/handler.ts"
import type { Tx } from "../../storage/database.ts"
import { appendEvents } from "../../storage/outbox.ts"
import { Poller } from "../../storage/poller.ts"
import type { ApprovalsContext } from "./options.ts"
import { changeRequest, type EventSink } from "./request-change.ts"
import { listDue, postponeTimer } from "./request-lists.ts"
import { lockDueRequest, type RequestRow } from "./request-store.ts"

const scanMillisecondsDefault = 1_000
const duePerRound = 200
const roundsMax = 100
const parallelMax = 4
/** Timers of one request that fire in one transaction; each moves the next one on. */
const firingsMax = 100
/** A request that could not be decided about is looked at again after so long. */
const postponedMilliseconds = 60_000

export function approvalClock(context: ApprovalsContext): Poller {
  return new Poller({
    everyMilliseconds: context.timerScanMilliseconds ?? scanMillisecondsDefault,
    look: (isStopped) => fireDue(context, isStopped),
    onError: (error) => context.logger.warn({ err: error }, "looking for due approvals failed; it is tried again"),
  })
}

/** Fires everything that is due now. */
async function fireDue(context: ApprovalsContext, isStopped: () => boolean): Promise<void> {
  const { database, clock } = context
  for (let round = 0; round < roundsMax && !isStopped(); round++) {
    const ids = await listDue(database, clock.now(), duePerRound)
    const fired = await mapBounded(ids, parallelMax, (id) => fire(context, id))
    // Where nothing could be fired, other servers have the rest.
    if (ids.length < duePerRound || !fired.includes(true)) return
  }
}

async function fire(context: ApprovalsContext, id: string): Promise<boolean> {
  const { database, clock, logger } = context
  const now = clock.now()
  const hints: Hint[] = []
  try {
    const isFired = await database.transaction(async (tx) => {
      hints.length = 0
      const row = await lockDueRequest(tx, id, now)
      if (!row) return false
      await fireTimers(context, tx, { row, now, hints })
      return true
    })
    for (const hint of hints) await hint()
    return isFired
  } catch (error) {
    logger.error({ err: error, request: id }, "a due approval could not be decided about; it is tried again later")
    await postponeTimer(database, id, now + postponedMilliseconds)
    return true
  }
}

async function fireTimers(context: ApprovalsContext, tx: Tx, due: BackgroundChange): Promise<void> {
  const { row, now } = due
  const work = async (sink: EventSink): Promise<void> => {
    let present = row
    for (let firing = 0; firing < firingsMax; firing++) {
      present = await changeRequest(context, sink, { row: present, input: { type: "timer" } })
      if (present.nextTimerAt === null || present.nextTimerAt > now) return
    }
    await postponeTimer(tx, row.id, now + postponedMilliseconds)
  }
  await inBackground(context, tx, { ...due, work })
}

export type Hint = Parameters<EventSink["afterCommit"]>[0]

interface BackgroundChange {
  readonly row: RequestRow
  readonly now: number
  /** What to do after the commit is put here. */
  readonly hints: Hint[]
}

/** Does work on a request for nobody in particular: its events are the service's, and follow from the request. */
export async function inBackground(
  context: ApprovalsContext,
  tx: Tx,
  of: BackgroundChange & { readonly work: (sink: EventSink) => Promise<unknown> },
): Promise<void> {
  const { row, now, hints, work } = of
  const events: NewEvent[] = []
  await work({
    tx,
    now,
    emit: (event) => void events.push(event),
    afterCommit: (hint) => void hints.push(hint),
  })
  await appendEvents(
    tx,
    events.map(({ aggregate, type, subject, version, data }) => ({
      id: newId("event", context.clock, context.random),
      account: row.account,
      aggregateId: aggregate,
      ...{ type, subject, data, subjectVersion: version },
      ...{ cause: row.cause, causedBy: row.id, depth: row.depth + 1, principal: "system:approvals" },
    })),
  )
}
