/** A catalog on a whole server with a database of its own: a product, a portfolio, its provisioner and a launcher. */
import { catalogLaunch, instancesGet } from "@signalbox/contracts/catalog/instances"
import { portfoliosApply } from "@signalbox/contracts/catalog/portfolios"
import { productsApply } from "@signalbox/contracts/catalog/products"
import {
  provisioningOrdersClaim,
  provisioningOrdersSucceed,
  type provisioningOrder,
} from "@signalbox/contracts/catalog/provisioning-orders"
import type { CallInputOf, OutputOf } from "@signalbox/contracts/operation"
import { expect } from "vitest"
import type { z } from "zod"
import { startApprovals, type ApprovalsFixture, type Member } from "../approvals/approvals.fixture.ts"

type Order = z.output<typeof provisioningOrder>
type Instance = OutputOf<typeof instancesGet>

export interface CatalogFixture extends ApprovalsFixture {
  readonly provisioner: Member
  readonly launcher: Member
  launch(key: string, input?: Partial<CallInputOf<typeof catalogLaunch>>): Promise<Instance>
  /** Claims the next order of the provisioner. */
  claim(leaseSeconds?: number): Promise<Order>
  /** Claims the next order, and reports that it is done. */
  fulfil(outputs?: Readonly<Record<string, string>>): Promise<Order>
  instance(id: string): Promise<Instance>
}

export const webNode: CallInputOf<typeof productsApply> = {
  name: "web-node",
  parameters: {
    size: { enum: ["small", "large"], default: "small" },
    disks: { type: "integer", min: 1, max: 8, default: 1 },
  },
  regions: ["north", "south"],
  outputs: { node: {}, code: { secret: true } },
  provisioner: "node-maker",
}

export async function startCatalog(): Promise<CatalogFixture> {
  const approvals = await startApprovals()
  const { admin, call } = approvals
  const provisioner = await approvals.member("node-maker", ["backend"])
  const launcher = await approvals.member("lea", ["launcher"], ["shop"])
  await call(admin, productsApply, webNode)
  await call(admin, portfoliosApply, { name: "web", products: { "web-node": {} } })
  const claim = async (leaseSeconds = 300): Promise<Order> => {
    const { order } = await call(provisioner.key, provisioningOrdersClaim, { leaseSeconds })
    expect(order, "there is an order to claim").toBeDefined()
    return order as Order
  }
  return {
    ...approvals,
    ...{ provisioner, launcher, claim },
    launch: (key, input) =>
      call(key, catalogLaunch, { portfolio: "web", product: "web-node", region: "north", ...input }),
    async fulfil(outputs = {}) {
      const { id, epoch } = await claim()
      return await call(provisioner.key, provisioningOrdersSucceed, { order: id, epoch, outputs })
    },
    instance: (id) => call(admin, instancesGet, { instance: id }),
  }
}
