import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, pageInput, pageOf } from "../schemas.ts"
import { catalogLimits } from "./catalog-limits.ts"
import { instanceParameters } from "./instances.ts"

/** What provisioners see: the orders for products that name them, and nothing of anybody else's. */
const orderStates = ["queued", "claimed", "succeeded", "failed", "superseded"] as const

export const provisioningOrder = z
  .object({
    id: z.string(),
    kind: z.enum(["provision", "update", "end"]),
    state: z.enum(orderStates).describe("superseded: the instance is to end instead"),
    epoch: z.int().describe("Grows with each claim; reports name it, so that only the latest claimant is heard"),
    leaseUntil: instant.optional().describe("From then on somebody else may claim it"),
    instance: z.string().describe("The same for all orders of an instance: what is made can be known by it"),
    account: z.string().describe("Where the instance was launched"),
    name: z.string().optional(),
    portfolio: z.string(),
    product: z.string(),
    productVersion: z.int(),
    region: z.string().optional(),
    parameters: instanceParameters,
    outputs: z.record(z.string(), z.string()).describe("What was told of the instance before"),
    owner: z.string(),
    createdAt: instant,
    finishedAt: instant.optional(),
  })
  .describe("Something that a provisioner is to do: make an instance, change it, or end it")

const orderId = z.string().regex(/^ord_[0-9a-z]{26}_\d{1,9}$/, "write ord_, 26 characters, _ and a number")
const epoch = z.int().min(1)
const leaseSeconds = z
  .int()
  .min(catalogLimits.leaseSecondsMin)
  .max(catalogLimits.leaseSecondsMax)
  .default(300)
  .describe("How long nobody else may claim it")
const outputs = z
  .record(z.string().max(63), z.string().max(catalogLimits.outputLengthMax))
  .refine((all) => Object.keys(all).length <= catalogLimits.outputsMax, `at most ${catalogLimits.outputsMax} outputs`)
  .default({})

export const provisioningOrdersWait = defineOperation({
  name: "provisioning-orders.wait",
  service: "catalog",
  summary: "Wait until there is an order that the caller can claim",
  description: "Answers when there is one, or when the time is over: ask again then. Changes nothing.",
  method: "GET",
  path: "/v1/provisioning-orders:wait",
  effect: "read",
  permission: "catalog.fulfil",
  input: z.strictObject({
    seconds: z.coerce.number().int().min(1).max(catalogLimits.waitSecondsMax).default(30),
  }),
  output: z.object({ ready: z.boolean() }),
  errors: ["catalog.too-many-waiting"],
})

export const provisioningOrdersClaim = defineOperation({
  name: "provisioning-orders.claim",
  service: "catalog",
  summary: "Claim the order that has waited longest",
  description:
    "At least once: an order whose lease is over can be claimed again, with a greater epoch. What is done for it has to " +
    "come to the same when it is done twice.",
  method: "POST",
  path: "/v1/provisioning-orders:claim",
  effect: "change",
  gateable: false,
  permission: "catalog.fulfil",
  input: z.strictObject({ leaseSeconds }),
  output: z.object({ order: provisioningOrder.optional().describe("Absent where there is none") }),
  errors: [],
})

export const provisioningOrdersRenew = defineOperation({
  name: "provisioning-orders.renew",
  service: "catalog",
  summary: "Keep an order for longer, and say how far it is",
  method: "POST",
  path: "/v1/provisioning-orders/{order}:renew",
  effect: "change",
  gateable: false,
  permission: "catalog.fulfil",
  input: z.strictObject({
    order: orderId,
    epoch,
    leaseSeconds,
    percent: z.number().min(0).max(100).optional(),
    message: z.string().max(catalogLimits.progressLengthMax).optional(),
  }),
  output: provisioningOrder,
  errors: ["catalog.order-not-found", "catalog.lease-lost"],
})

export const provisioningOrdersSucceed = defineOperation({
  name: "provisioning-orders.succeed",
  service: "catalog",
  summary: "Report that an order is done, with the instance's outputs",
  description: "A repeat with the same epoch is answered as the first one.",
  method: "POST",
  path: "/v1/provisioning-orders/{order}:succeed",
  effect: "change",
  gateable: false,
  permission: "catalog.fulfil",
  input: z.strictObject({
    order: orderId,
    epoch,
    outputs: outputs.describe("Those that the product declares; what is left out stays as it was"),
    secretOutputs: outputs.describe("Those that it declares as secret: kept encrypted"),
  }),
  secretInput: ["secretOutputs"],
  output: provisioningOrder,
  errors: ["catalog.order-not-found", "catalog.lease-lost", "catalog.invalid-outputs"],
})

export const provisioningOrdersFail = defineOperation({
  name: "provisioning-orders.fail",
  service: "catalog",
  summary: "Report that an order can't be done",
  description: "Of an order to make an instance it says besides that nothing of it is left.",
  method: "POST",
  path: "/v1/provisioning-orders/{order}:fail",
  effect: "change",
  gateable: false,
  permission: "catalog.fulfil",
  input: z.strictObject({ order: orderId, epoch, reason: z.string().min(1).max(catalogLimits.reasonLengthMax) }),
  output: provisioningOrder,
  errors: ["catalog.order-not-found", "catalog.lease-lost"],
})

export const provisioningOrdersList = defineOperation({
  name: "provisioning-orders.list",
  service: "catalog",
  summary: "List the caller's provisioning orders, the newest instances first",
  method: "GET",
  path: "/v1/provisioning-orders",
  effect: "read",
  permission: "catalog.fulfil",
  input: z.strictObject({ ...pageInput, state: z.enum(orderStates).optional() }),
  output: pageOf(provisioningOrder),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["id", "kind", "state", "product", "instance", "leaseUntil", "createdAt"] },
})

export const provisioningOrdersOperations = [
  provisioningOrdersWait,
  provisioningOrdersClaim,
  provisioningOrdersRenew,
  provisioningOrdersSucceed,
  provisioningOrdersFail,
  provisioningOrdersList,
] as const
