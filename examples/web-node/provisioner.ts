/**
 * A backend that provisions: it claims the orders for the product `web-node` and carries them out on this machine. It
 * may die at any moment: its order is claimed again when the lease is over, and is carried on with what is there.
 *
 *     SIGNALBOX_SERVER=… SIGNALBOX_KEY=… WEB_NODES=/srv/web-nodes node provisioner.ts
 */
import type { provisioningOrder } from "@signalbox/contracts/catalog/provisioning-orders"
import {
  provisioningOrdersClaim,
  provisioningOrdersFail,
  provisioningOrdersRenew,
  provisioningOrdersSucceed,
  provisioningOrdersWait,
} from "@signalbox/contracts/catalog/provisioning-orders"
import { enrollmentKeysCreate, nodesList, nodesRemove } from "@signalbox/contracts/fleet/operations"
import type { Done, Reply } from "@signalbox/contracts/operation"
import { hasCode } from "@signalbox/kernel/app-error"
import { setTimeout as delay } from "node:timers/promises"
import type { z } from "zod"
import { connect, say, setting } from "./settings.ts"
import { WebMachine } from "./web-machine.ts"

type Order = z.output<typeof provisioningOrder>

const leaseSeconds = Number(setting("LEASE_SECONDS", "60"))
const triesMax = 3
const pollMilliseconds = 200
/** The tag by which a node is known to be of an instance. */
const instanceTag = "catalog.instance"

const client = connect()
const machine = new WebMachine(setting("WEB_NODES"))

/** None of these calls is one that people hold. */
function done<T>(reply: Reply<T>): T {
  if (reply.status === "held") throw new Error(`held for approval: ${reply.requestUrl}`)
  return (reply satisfies Done<T>).value
}

async function findNode(instance: string) {
  const { items } = await client.call(nodesList, { query: `${instanceTag}=${instance}` })
  return items[0]
}

async function provision(order: Order, report: (message: string) => Promise<void>, signal: AbortSignal) {
  const { instance } = order
  const port = Number(order.parameters["port"])
  const name = `web-${instance.slice(-12)}`
  await machine.enroll(instance, name, async () => {
    const tags = { role: "web", [instanceTag]: instance }
    return done(await client.call(enrollmentKeysCreate, { name, tags }, { signal }))
  })
  await report("enrolled")
  await machine.publish(instance, { port, page: String(order.parameters["page"]) })
  await machine.start(instance)
  for (;;) {
    const node = await findNode(instance)
    if (node?.state === "online") return { node: node.id, url: `http://127.0.0.1:${port}/` }
    await delay(pollMilliseconds, undefined, { signal })
  }
}

async function update({ instance, parameters }: Order) {
  const port = Number(parameters["port"])
  await machine.publish(instance, { port, page: String(parameters["page"]) })
  machine.restart(instance)
  return { url: `http://127.0.0.1:${port}/` }
}

async function end({ instance }: Order, signal: AbortSignal) {
  await machine.remove(instance)
  const node = await findNode(instance)
  if (node) done(await client.call(nodesRemove, { node: node.id }, { signal }))
  return {}
}

async function carryOut(order: Order, signal: AbortSignal): Promise<Record<string, string>> {
  const lease = { order: order.id, epoch: order.epoch, leaseSeconds }
  if (order.kind === "update") return await update(order)
  if (order.kind === "end") return await end(order, signal)
  const report = async (message: string) => {
    await client.call(provisioningOrdersRenew, { ...lease, message }, { signal })
  }
  return await provision(order, report, signal)
}

/** Carries an order out while its lease is kept; stops where somebody else has it, or the instance is to end. */
async function fulfil(order: Order): Promise<void> {
  const { id, epoch, kind, instance } = order
  const lost = new AbortController()
  const renewal = setInterval(
    () => {
      client
        .call(provisioningOrdersRenew, { order: id, epoch, leaseSeconds })
        .catch((error: unknown) => hasCode(error, "catalog.lease-lost") && lost.abort(error))
    },
    (leaseSeconds * 1000) / 3,
  )
  try {
    const outputs = await tryAgain(() => carryOut(order, lost.signal), lost.signal)
    await client.call(provisioningOrdersSucceed, { order: id, epoch, outputs })
    say(`${kind} of ${instance}: done`)
  } catch (error) {
    if (lost.signal.aborted || hasCode(error, "catalog.lease-lost")) return say(`${kind} of ${instance}: given up`)
    // "Failed" says that nothing is left.
    if (kind === "provision") await end(order, lost.signal)
    await client.call(provisioningOrdersFail, { order: id, epoch, reason: String(error) })
    say(`${kind} of ${instance}: ${String(error)}`)
  } finally {
    clearInterval(renewal)
  }
}

async function tryAgain<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work()
    } catch (error) {
      if (signal.aborted || tries === triesMax || hasCode(error, "catalog.lease-lost")) throw error
      await delay(tries * 1_000, undefined, { signal })
    }
  }
}

// After a restart of the machine the agents of finished instances don't run; those that do are left alone.
for (const instance of await machine.list()) if (machine.isEnrolled(instance)) await machine.start(instance).catch(say)

say("waiting for orders")
for (;;) {
  const { ready } = await client.call(provisioningOrdersWait, { seconds: 30 })
  if (!ready) continue
  const { order } = done(await client.call(provisioningOrdersClaim, { leaseSeconds }))
  if (order) await fulfil(order)
}
