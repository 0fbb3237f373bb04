/**
 * Changes an instance under its lock: its state by the machine, the order that follows, and the event that tells of it.
 * Whatever happens to an instance, a call, a report or time, goes through here.
 */
import { AppError } from "@signalbox/kernel/app-error"
import type { EventStory, NewEvent } from "../../router/handler.ts"
import type { Tx } from "../../storage/database.ts"
import { isTerminal, nextState, type InstanceEvent, type OrderKind } from "./instance-machine.ts"
import { saveInstance, type InstanceRow, type Values } from "./instance-store.ts"
import { findOrder, insertOrder, saveOrder, type OrderRow } from "./order-store.ts"

/** Where a change writes and tells. */
export interface ChangeSink {
  readonly tx: Tx
  readonly now: number
  emit(event: NewEvent): void
}

/** What a new order carries beside its instance. */
export interface OrderTerms {
  readonly kind: OrderKind
  readonly provisioner: string
  readonly productVersion: number
  readonly parameters: Values
  readonly story: Omit<EventStory, "account">
}

interface InstanceChange {
  readonly event: InstanceEvent
  readonly patch?: Partial<InstanceRow>
  /** What is to be done from now on; an order that is under way is given up for it. */
  readonly order?: OrderTerms
  readonly story?: EventStory
}

interface Changed {
  readonly instance: InstanceRow
  readonly order: OrderRow | undefined
}

/** @throws catalog.instance-ended, catalog.instance-busy */
export async function changeInstance(sink: ChangeSink, row: InstanceRow, change: InstanceChange): Promise<Changed> {
  const { tx, now } = sink
  const state = nextState(row.state, change.event)
  if (state === undefined) throw refusalOf(row)
  const before = await findOrder(tx, row.id, row.orderNumber)
  const isOver = isTerminal(state)
  if (before?.finishedAt === null && (change.order !== undefined || (isOver && change.event === "end")))
    await saveOrder(tx, { ...before, state: "superseded", finishedAt: now })
  // Ending something of which nothing was begun leaves nothing to do.
  const order = change.order && !isOver ? newOrder(row, change.order, now) : undefined
  if (order) await insertOrder(tx, order)
  const instance = await saveInstance(
    tx,
    {
      ...row,
      ...change.patch,
      state,
      ...(order ? { orderNumber: order.number } : {}),
      ...(change.event === "end" || isOver ? { expiresAt: null } : {}),
      ...(isOver ? { endedAt: now, secretOutputs: null, secretNames: [] } : {}),
    },
    now,
  )
  if (instance.state !== row.state) tell(sink, instance, { what: instance.state, story: change.story })
  return { instance, order: order ?? before }
}

export function newOrder(
  row: Pick<InstanceRow, "id" | "account" | "providerAccount" | "orderNumber">,
  { kind, provisioner, productVersion, parameters, story }: OrderTerms,
  now: number,
): OrderRow {
  return {
    instanceId: row.id,
    number: row.orderNumber + 1,
    account: row.account,
    providerAccount: row.providerAccount,
    ...{ provisioner, kind, productVersion, parameters },
    state: "queued",
    epoch: 0,
    availableAt: now,
    percent: null,
    message: null,
    ...story,
    createdAt: now,
    finishedAt: null,
  }
}

interface Told {
  readonly what: string
  readonly story?: EventStory | undefined
  readonly data?: Readonly<Record<string, unknown>>
}

/** Tells of an instance as it is after a change that gave it its version. */
export function tell({ emit }: Pick<ChangeSink, "emit">, instance: InstanceRow, { what, story, data }: Told): void {
  const { id, name, product, portfolio, version, owner, reason } = instance
  emit({
    ...{ aggregate: id, type: `instance.${what}`, subject: id, version },
    data: {
      name: name ?? `${product} ${id}`,
      ...{ product, portfolio, owner },
      ...(reason === null ? {} : { reason }),
      ...data,
    },
    ...(story ? { story } : {}),
  })
}

function refusalOf({ id, state }: InstanceRow): AppError {
  return isTerminal(state)
    ? new AppError("catalog.instance-ended", `${id} is ${state}, and nothing of it is left`)
    : new AppError("catalog.instance-busy", `${id} is ${state}: that has to be over first`)
}
