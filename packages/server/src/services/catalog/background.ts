/** What time does: ends instances that have expired, removes those that ended long ago. And what follows changes. */
import { isAppError } from "@signalbox/kernel/app-error"
import { newId } from "@signalbox/kernel/id"
import type { NewEvent } from "../../router/handler.ts"
import type { CronTask } from "../../storage/background-queue.ts"
import type { Consumer } from "../../storage/dispatcher.ts"
import { appendEvents } from "../../storage/outbox.ts"
import { Poller } from "../../storage/poller.ts"
import { endInstance } from "./end-instance.ts"
import { listExpired, lockInstance, removeOldInstances } from "./instance-store.ts"
import type { CatalogContext } from "./options.ts"
import { findOrder, findOrdersOfOthers, giveOrder } from "./order-store.ts"
import { findProduct } from "./product-store.ts"

const scanMilliseconds = 1_000
const expiredPerRound = 200
const roundsMax = 100
const keptMilliseconds = 400 * 86_400_000
const rowsPerStatement = 1_000

/** Ends what is due. It stands in the rows and is decided about under each instance's lock, so every server may look. */
export function expiryClock(context: CatalogContext): Poller {
  const { database, clock, logger } = context
  return new Poller({
    everyMilliseconds: scanMilliseconds,
    async look(isStopped) {
      for (const id of await listExpired(database, clock.now(), expiredPerRound)) {
        if (isStopped()) return
        await expire(context, id)
      }
    },
    onError: (error) => logger.warn({ err: error }, "ending expired instances failed; it is tried again"),
  })
}

const ordersPerRound = 200

/** A product that gets another provisioner gives it the orders that are open: the one before may be gone for good. */
export function provisionerConsumer({ clock, waiters }: CatalogContext): Consumer {
  return {
    name: "catalog.provisioners",
    types: ["product.changed"],
    async handle({ account, data }, { database, signal }) {
      const product = String((data as { name?: unknown }).name)
      const found = await findProduct(database, account, product)
      if (!found) return
      const { provisionerId: provisioner } = found.definition
      for (let round = 0; round < roundsMax && !signal.aborted; round++) {
        const of = { product, limit: ordersPerRound }
        const orders = await findOrdersOfOthers(database, { account, principal: provisioner }, of)
        for (const { instanceId, number } of orders)
          await database.transaction(async (tx) => {
            await lockInstance(tx, instanceId)
            const order = await findOrder(tx, instanceId, number)
            if (order?.finishedAt === null) await giveOrder(tx, order, { provisioner, now: clock.now() })
          })
        if (orders.length > 0) waiters.added()
        if (orders.length < ordersPerRound) return
      }
    },
  }
}

async function expire(context: CatalogContext, id: string): Promise<void> {
  const { database, clock, random, waiters } = context
  const now = clock.now()
  try {
    await database.transaction(async (tx) => {
      const row = await lockInstance(tx, id)
      if (row?.expiresAt == null || row.expiresAt > now) return
      const events: NewEvent[] = []
      const { account, cause, depth } = row
      const story = { cause, causedBy: id, depth: depth + 1 }
      const sink = { tx, now, emit: (event: NewEvent) => void events.push(event) }
      await endInstance(sink, row, { reason: "its lifetime is over", story, isOwnStory: true })
      await appendEvents(
        tx,
        events.map(({ aggregate, type, subject, version, data }) => ({
          id: newId("event", clock, random),
          ...{ account, aggregateId: aggregate, type, subject, data, subjectVersion: version },
          ...{ ...story, principal: "system:catalog" },
        })),
      )
    })
  } catch (error) {
    // Somebody else has ended it meanwhile.
    if (!isAppError(error) || !error.code.startsWith("catalog.")) throw error
  }
  waiters.added()
}

export function catalogTasks({ clock }: CatalogContext): readonly CronTask[] {
  return [
    {
      name: "catalog.retention",
      cron: "47 * * * *",
      async run({ database, signal }) {
        const before = clock.now() - keptMilliseconds
        for (let round = 0; round < roundsMax && !signal.aborted; round++) {
          if ((await removeOldInstances(database, { before, limit: rowsPerStatement })) < rowsPerStatement) return
        }
      },
    },
  ]
}
