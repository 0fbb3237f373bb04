import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { approvalRequestsApprove } from "@signalbox/contracts/approvals/answers"
import { approvalRequestsGet, approvalRequestsList } from "@signalbox/contracts/approvals/requests"
import { heldOperationsGet } from "@signalbox/contracts/approvals/held-operations"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { whyExplain } from "@signalbox/contracts/audit/operations"
import {
  catalogEnd,
  catalogLaunch,
  catalogUpdate,
  instancesGet,
  instancesList,
  instancesReveal,
} from "@signalbox/contracts/catalog/instances"
import { portfoliosApply, portfoliosGet, portfoliosRemove } from "@signalbox/contracts/catalog/portfolios"
import { productsApply, productsGet, productsRemove } from "@signalbox/contracts/catalog/products"
import {
  provisioningOrdersClaim,
  provisioningOrdersFail,
  provisioningOrdersList,
  provisioningOrdersRenew,
  provisioningOrdersSucceed,
  provisioningOrdersWait,
} from "@signalbox/contracts/catalog/provisioning-orders"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { untilTrue } from "../approvals/approvals.fixture.ts"
import { startCatalog, webNode, type CatalogFixture } from "./catalog.fixture.ts"

let catalog: CatalogFixture

beforeEach(async () => {
  catalog = await startCatalog()
})

afterEach(() => catalog.stop())

describe("A13: an instance", () => {
  test("is made, changed and ended by its provisioner, and every step is told", async () => {
    const { call, launcher, provisioner } = catalog
    const launched = await catalog.launch(launcher.key, { name: "shop-1", parameters: { disks: 2 } })
    expect(launched).toMatchObject({
      state: "requested",
      productVersion: 1,
      region: "north",
      parameters: { size: "small", disks: 2 },
      owner: launcher.principal,
    })
    const order = await catalog.claim()
    expect(order).toMatchObject({ kind: "provision", epoch: 1, instance: launched.id, account: "main", name: "shop-1" })
    expect((await catalog.instance(launched.id)).state).toBe("provisioning")
    await call(provisioner.key, provisioningOrdersRenew, { order: order.id, epoch: 1, percent: 50, message: "half" })
    expect((await catalog.instance(launched.id)).progress).toEqual({ percent: 50, message: "half" })
    await call(provisioner.key, provisioningOrdersSucceed, { order: order.id, epoch: 1, outputs: { node: "nod_1" } })
    expect(await catalog.instance(launched.id)).toMatchObject({ state: "available", outputs: { node: "nod_1" } })

    const updating = await call(launcher.key, catalogUpdate, { instance: launched.id, parameters: { size: "large" } })
    expect(updating).toMatchObject({ state: "updating", parameters: { size: "small", disks: 2 } })
    expect(await catalog.fulfil()).toMatchObject({ kind: "update", parameters: { size: "large", disks: 2 } })
    expect(await catalog.instance(launched.id)).toMatchObject({ state: "available", parameters: { size: "large" } })

    expect((await call(launcher.key, catalogEnd, { instance: launched.id, reason: "done" })).state).toBe("ending")
    expect(await catalog.fulfil()).toMatchObject({ kind: "end", outputs: { node: "nod_1" } })
    expect(await catalog.instance(launched.id)).toMatchObject({ state: "ended", reason: "done" })
    expect(await catalog.refusal(launcher.key, catalogEnd, { instance: launched.id })).toBe("catalog.instance-ended")
    expect(await catalog.eventsOf(launched.id)).toEqual(
      [
        "requested",
        "provisioning",
        "progressed",
        "available",
        "updating",
        "claimed",
        "available",
        "ending",
        "claimed",
        "ended",
      ].map((what) => `instance.${what}`),
    )
  })

  test("that failed is over; one that could not be changed or ended can be tried again", async () => {
    const { call, launcher, provisioner } = catalog
    const fail = async () => {
      const { id, epoch } = await catalog.claim()
      await call(provisioner.key, provisioningOrdersFail, { order: id, epoch, reason: "no room" })
    }
    const first = await catalog.launch(launcher.key)
    await fail()
    expect(await catalog.instance(first.id)).toMatchObject({ state: "failed", reason: "no room" })
    expect(await catalog.refusal(launcher.key, catalogEnd, { instance: first.id })).toBe("catalog.instance-ended")

    const { id } = await catalog.launch(launcher.key)
    expect(await catalog.refusal(launcher.key, catalogUpdate, { instance: id })).toBe("catalog.instance-busy")
    await catalog.fulfil()
    await call(launcher.key, catalogUpdate, { instance: id, parameters: { disks: 3 } })
    await fail()
    expect(await catalog.instance(id)).toMatchObject({ state: "update-failed", parameters: { disks: 1 } })
    await call(launcher.key, catalogEnd, { instance: id })
    await fail()
    expect((await catalog.instance(id)).state).toBe("end-failed")
    await call(launcher.key, catalogEnd, { instance: id })
    await catalog.fulfil()
    expect((await catalog.instance(id)).state).toBe("ended")
  })

  test("of which nothing was begun is ended at once; ending takes over from a provisioner at work", async () => {
    const { call, launcher, provisioner } = catalog
    const idle = await catalog.launch(launcher.key)
    expect((await call(launcher.key, catalogEnd, { instance: idle.id })).state).toBe("ended")
    expect(await call(provisioner.key, provisioningOrdersClaim, {})).toEqual({})

    const busy = await catalog.launch(launcher.key)
    const { id, epoch } = await catalog.claim()
    await call(launcher.key, catalogEnd, { instance: busy.id })
    const late = { order: id, epoch }
    expect(await catalog.refusal(provisioner.key, provisioningOrdersSucceed, late)).toBe("catalog.lease-lost")
    expect(await catalog.refusal(provisioner.key, provisioningOrdersRenew, late)).toBe("catalog.lease-lost")
    expect((await catalog.fulfil()).kind).toBe("end")
    expect((await catalog.instance(busy.id)).state).toBe("ended")
  })

  test("ends by itself when its lifetime is over", async () => {
    const { call, admin, launcher, clock } = catalog
    await call(admin, portfoliosApply, { name: "web", products: { "web-node": { lifetimeMax: "2h" } } })
    expect(await catalog.refusal(launcher.key, catalogLaunch, launchOf({ lifetime: "3h" }))).toBe(
      "catalog.constraint-violated",
    )
    const { id, expiresAt, createdAt } = await catalog.launch(launcher.key)
    expect(Date.parse(expiresAt ?? "") - Date.parse(createdAt)).toBe(2 * 3_600_000)
    await catalog.fulfil()
    clock.advance(2 * 3_600_000)
    await untilTrue(async () => (await catalog.instance(id)).state === "ending")
    await catalog.fulfil()
    expect(await catalog.instance(id)).toMatchObject({ state: "ended", reason: "its lifetime is over" })
  })
})

const launchOf = (input: object) => ({ portfolio: "web", product: "web-node", region: "north", ...input })

describe("A13: provisioning orders", () => {
  test("are claimed again after the lease, by the same provisioner alone, and only the latest claimant is heard", async () => {
    const { call, launcher, provisioner, clock } = catalog
    const { id: instance } = await catalog.launch(launcher.key)
    const first = await catalog.claim(60)
    expect(await call(provisioner.key, provisioningOrdersClaim, {})).toEqual({})
    clock.advance(61_000)
    const second = await catalog.claim(60)
    expect([second.id, second.epoch]).toEqual([first.id, 2])
    const stranger = await catalog.member("stranger", ["backend"])
    expect(await call(stranger.key, provisioningOrdersClaim, {})).toEqual({})
    expect((await call(stranger.key, provisioningOrdersList, {})).items).toEqual([])
    const report = { order: first.id, epoch: 2, outputs: { node: "nod_1" } }
    expect(await catalog.refusal(stranger.key, provisioningOrdersSucceed, report)).toBe("catalog.order-not-found")
    expect(await catalog.refusal(provisioner.key, provisioningOrdersSucceed, { ...report, epoch: 1 })).toBe(
      "catalog.lease-lost",
    )
    const done = await call(provisioner.key, provisioningOrdersSucceed, report)
    expect(await call(provisioner.key, provisioningOrdersSucceed, report)).toEqual(done)
    expect(
      await catalog.refusal(provisioner.key, provisioningOrdersFail, { order: first.id, epoch: 2, reason: "no" }),
    ).toBe("catalog.lease-lost")
    expect((await catalog.instance(instance)).state).toBe("available")
    expect((await call(provisioner.key, provisioningOrdersList, { state: "succeeded" })).items).toEqual([done])
  })

  test("go to another provisioner where the product gets one, and the one before is heard no more", async () => {
    const { call, admin, launcher, provisioner } = catalog
    const { id: instance } = await catalog.launch(launcher.key)
    const { id: order, epoch } = await catalog.claim()
    const successor = await catalog.member("successor", ["backend"])
    await call(admin, productsApply, { ...webNode, provisioner: "successor" })
    expect(await call(successor.key, provisioningOrdersWait, { seconds: 60 })).toEqual({ ready: true })
    expect(await catalog.refusal(provisioner.key, provisioningOrdersSucceed, { order, epoch })).toBe(
      "catalog.order-not-found",
    )
    const claimed = await call(successor.key, provisioningOrdersClaim, {})
    expect(claimed.order).toMatchObject({ id: order, epoch: epoch + 1 })
    await call(successor.key, provisioningOrdersSucceed, { order, epoch: epoch + 1 })
    await call(launcher.key, catalogEnd, { instance })
    expect(await call(successor.key, provisioningOrdersClaim, {})).toMatchObject({ order: { kind: "end" } })
  })

  test("wake whoever waits for them", async () => {
    const { call, launcher, provisioner } = catalog
    const waiting = call(provisioner.key, provisioningOrdersWait, { seconds: 60 })
    await catalog.launch(launcher.key)
    expect(await waiting).toEqual({ ready: true })
    await catalog.fulfil()
    expect(await call(provisioner.key, provisioningOrdersWait, { seconds: 1 })).toEqual({ ready: false })
  })

  test("may tell declared outputs alone, and secret ones are nowhere in clear", async () => {
    const { call, launcher, provisioner, server, admin } = catalog
    const { id: instance } = await catalog.launch(launcher.key)
    const { id: order, epoch } = await catalog.claim()
    for (const told of [
      { outputs: { other: "x" } },
      { outputs: { code: "enrol-4711" } },
      { secretOutputs: { node: "nod_1" } },
    ])
      expect(await catalog.refusal(provisioner.key, provisioningOrdersSucceed, { order, epoch, ...told })).toBe(
        "catalog.invalid-outputs",
      )
    const secretOutputs = { code: "enrol-4711" }
    await call(provisioner.key, provisioningOrdersSucceed, { order, epoch, secretOutputs })
    expect((await call(launcher.key, instancesGet, { instance })).secretOutputs).toEqual(["code"])
    expect(await call(launcher.key, instancesReveal, { instance })).toEqual({ instance, outputs: secretOutputs })
    const stranger = await catalog.member("eve", ["launcher"])
    expect(await catalog.refusal(stranger.key, instancesReveal, { instance })).toBe("catalog.not-the-owner")
    const tables = await server.test.database.query<{ name: string }>(
      "select quote_ident(relname) as name from pg_class where relkind = 'r' and relnamespace = 'signalbox'::regnamespace",
    )
    for (const { name } of tables)
      expect(JSON.stringify(await server.test.database.query(`select * from ${name}`)), name).not.toContain(
        "enrol-4711",
      )
    expect(await catalog.eventsOf(instance)).toContain("instance.revealed")
    await call(admin, catalogEnd, { instance })
    await catalog.fulfil()
    const [row] = await server.test.database.query("select secret_outputs from catalog_instances where id = $1", [
      instance,
    ])
    expect(row).toEqual({ secret_outputs: null })
  })
})

describe("A13: products and portfolios", () => {
  test("versions never change, and instances go on with theirs", async () => {
    const { call, admin, launcher } = catalog
    const { id } = await catalog.launch(launcher.key)
    expect(await call(admin, productsApply, webNode)).toMatchObject({ version: 1, changed: false })
    const changed = { ...webNode, parameters: { ...webNode.parameters, zone: { default: "a" } } }
    expect(await call(admin, productsApply, changed)).toMatchObject({ version: 2, changed: true })
    expect((await call(admin, productsGet, { name: "web-node", version: 1 })).parameters).not.toHaveProperty("zone")
    expect((await catalog.fulfil()).productVersion).toBe(1)
    expect(await catalog.launch(launcher.key)).toMatchObject({ productVersion: 2, parameters: { zone: "a" } })
    expect(await catalog.launch(launcher.key, { version: 1 })).toMatchObject({ productVersion: 1 })
    await call(launcher.key, catalogUpdate, { instance: id, version: 2, parameters: { zone: "b" } })
    await call(catalog.provisioner.key, provisioningOrdersList, {})
    expect(await catalog.refusal(admin, productsRemove, { name: "web-node" })).toBe("catalog.product-in-use")
    expect(await catalog.refusal(admin, productsApply, { ...webNode, provisioner: "nobody" })).toBe(
      "catalog.invalid-product",
    )
  })

  test("who may launch is whom the portfolio names, by principal, team or role", async () => {
    const { call, admin, launcher } = catalog
    const stranger = await catalog.member("eve", ["launcher"], ["sales"])
    for (const access of [{ principals: ["lea"] }, { teams: ["shop"] }]) {
      await call(admin, portfoliosApply, { name: "web", products: { "web-node": {} }, access })
      await catalog.launch(launcher.key)
      expect(await catalog.refusal(stranger.key, catalogLaunch, launchOf({}))).toBe("catalog.not-allowed")
    }
    const access = { roles: ["operator" as const] }
    await call(admin, portfoliosApply, { name: "web", products: { "web-node": {} }, access })
    expect(await catalog.refusal(launcher.key, catalogLaunch, launchOf({}))).toBe("catalog.not-allowed")
    const operator = await catalog.member("oli", ["operator"])
    await catalog.launch(operator.key)
  })

  test("values, regions and quotas are held", async () => {
    const { call, admin, launcher } = catalog
    await call(admin, portfoliosApply, {
      name: "web",
      products: {
        "web-node": { parameters: { disks: { max: 2 } }, regions: ["south"], liveMax: 3, liveMaxPerPrincipal: 2 },
      },
    })
    const wrong = [
      { parameters: { disks: 3 } },
      { region: "north" },
      { parameters: { size: "huge" } },
      { parameters: { x: 1 } },
    ]
    for (const input of wrong)
      expect(await catalog.refusal(launcher.key, catalogLaunch, launchOf({ region: "south", ...input }))).toBe(
        "catalog.constraint-violated",
      )
    // The only region that is left needs no naming.
    const first = await call(launcher.key, catalogLaunch, { portfolio: "web", product: "web-node" })
    expect(first.region).toBe("south")
    await call(launcher.key, catalogLaunch, { portfolio: "web", product: "web-node" })
    const more = { portfolio: "web", product: "web-node" }
    expect(await catalog.refusal(launcher.key, catalogLaunch, more)).toBe("catalog.quota-exceeded")
    await call(admin, catalogLaunch, more)
    expect(await catalog.refusal(admin, catalogLaunch, more)).toBe("catalog.quota-exceeded")
    await call(launcher.key, catalogEnd, { instance: first.id })
    await call(launcher.key, catalogLaunch, more)
  })

  test("an import may only narrow, and a later change of its source narrows it at once", async () => {
    const { call, admin, launcher } = catalog
    const source = {
      name: "web",
      products: { "web-node": { parameters: { disks: { max: 4 } }, regions: ["north"], lifetimeMax: "30d" } },
      liveMax: 10,
    }
    await call(admin, portfoliosApply, source)
    const imported = (constraints: object, rest: object = {}) => ({
      name: "shop",
      import: { portfolio: "web" },
      products: { "web-node": constraints },
      ...rest,
    })
    const wider: object[] = [
      imported({ parameters: { disks: { max: 5 } } }),
      imported({ parameters: { disks: { min: 0 } } }),
      imported({ parameters: { size: { enum: ["small", "huge"] } } }),
      imported({ regions: ["north", "south"] }),
      imported({ lifetimeMax: "31d" }),
      imported({ liveMax: 11 }),
      imported({}, { liveMax: 11 }),
      imported({}, { products: { "web-node": {}, "other-product": {} } }),
    ]
    for (const input of wider)
      expect(await catalog.refusal(admin, portfoliosApply, input as never), JSON.stringify(input)).toBe(
        "catalog.constraint-widens",
      )
    await call(admin, portfoliosApply, imported({ parameters: { disks: { max: 3 } } }, { liveMax: 5 }))
    const shop = { portfolio: "shop", product: "web-node" }
    expect(await call(launcher.key, catalogLaunch, { ...shop, parameters: { disks: 3 } })).toMatchObject({
      region: "north",
    })
    await call(admin, portfoliosApply, {
      ...source,
      products: { "web-node": { parameters: { disks: { max: 2 } }, regions: ["north"] } },
    })
    expect(await catalog.refusal(launcher.key, catalogLaunch, { ...shop, parameters: { disks: 3 } })).toBe(
      "catalog.constraint-violated",
    )
    const [effective] = (await call(admin, portfoliosGet, { name: "shop" })).effective
    expect(effective).toMatchObject({ parameters: { disks: { min: 1, max: 2 } }, regions: ["north"], liveMax: 5 })
    expect(await catalog.refusal(admin, portfoliosRemove, { name: "web" })).toBe("catalog.portfolio-in-use")
    const loop = { name: "web", import: { portfolio: "shop" } }
    expect(await catalog.refusal(admin, portfoliosApply, loop)).toBe("catalog.source-gone")
  })

  test("what is shared with another account can be launched there, and nothing else crosses", async () => {
    const { call, admin } = catalog
    const two = await catalog.key("two-admin", ["admin"], "two")
    const imported = { name: "from-main", import: { account: "main", portfolio: "web" } }
    expect(await catalog.refusal(two.key, portfoliosApply, imported)).toBe("catalog.portfolio-not-found")
    const source = { name: "web", products: { "web-node": {} }, liveMax: 2, access: { principals: ["lea"] } }
    await call(admin, portfoliosApply, { ...source, sharedWith: ["two"] })
    await call(two.key, portfoliosApply, imported)
    const launch = { portfolio: "from-main", product: "web-node", region: "north" }
    const { id } = await call(two.key, catalogLaunch, launch)
    expect(await catalog.claim()).toMatchObject({ account: "two", portfolio: "from-main", instance: id })
    expect(await catalog.refusal(admin, instancesGet, { instance: id })).toBe("catalog.instance-not-found")
    expect(await catalog.refusal(admin, catalogEnd, { instance: id })).toBe("catalog.instance-not-found")
    const events = await catalog.server.test.database.query(
      "select distinct account, cause = (select cause from catalog_instances where id = $1) as own from outbox where subject = $1",
      [id],
    )
    expect(events).toEqual([{ account: "two", own: true }])
    await catalog.launch(catalog.launcher.key)
    expect(await catalog.refusal(two.key, catalogLaunch, launch)).toBe("catalog.quota-exceeded")
    await call(admin, portfoliosApply, source)
    expect(await catalog.refusal(two.key, catalogLaunch, launch)).toBe("catalog.source-gone")
    expect(await call(two.key, portfoliosGet, { name: "from-main" })).toMatchObject({
      effective: [],
      gone: /main|web/ as never,
    })
  })
})

test("A13: a quota is exact under 32 launches at once", async () => {
  const { call, admin, launcher, server } = catalog
  await call(admin, portfoliosApply, { name: "web", products: { "web-node": {} }, liveMax: 7 })
  await call(admin, portfoliosApply, { name: "shop", import: { portfolio: "web" } })
  const codes = await Promise.all(
    Array.from({ length: 32 }, (_, index) =>
      catalog.refusal(launcher.key, catalogLaunch, launchOf({ portfolio: index % 2 === 0 ? "web" : "shop" })),
    ),
  )
  expect(codes.filter((code) => code === "accepted")).toHaveLength(7)
  expect(codes.filter((code) => code === "catalog.quota-exceeded")).toHaveLength(25)
  expect(await server.test.database.query("select count(*)::int as live from catalog_instances")).toEqual([{ live: 7 }])
})

describe("A13: a launch that an association holds", () => {
  async function hold(selector: object): Promise<void> {
    const { call, admin } = catalog
    await call(admin, approvalGroupsApply, { name: "bosses", members: [{ principal: "ada" }] })
    const levels = [{ name: "boss", group: "bosses", strategy: { kind: "any" as const } }]
    await call(admin, templatesApply, { name: "ask", levels })
    await call(admin, associationsApply, { name: "web-nodes", template: "ask", selector })
  }

  async function approve(key: string): Promise<string> {
    const { call, admin } = catalog
    const { items } = await call(admin, approvalRequestsList, { state: "open" })
    expect(items).toHaveLength(1)
    const request = items[0]?.id ?? ""
    const { digest } = await call(admin, approvalRequestsGet, { request })
    await call(key, approvalRequestsApprove, { request, digest })
    await untilTrue(async () => ["done", "failed"].includes((await call(admin, heldOperationsGet, { request })).state))
    return request
  }

  const send = (method: string, path: string, body: object) =>
    catalog.server.call(catalog.launcher.key, method, path, body)

  test("by product: launch, update and end alike; the story of the instance tells who said yes", async () => {
    const { call, admin } = catalog
    const ada = await catalog.member("ada", ["approver"])
    await hold({ product: "web-node" })
    expect(await catalog.refusal(catalog.launcher.key, catalogLaunch, launchOf({ parameters: { disks: 9 } }))).toBe(
      "catalog.constraint-violated",
    )
    expect((await send("POST", "/v1/instances", launchOf({}))).status).toBe(202)
    const request = await approve(ada.key)
    expect(await call(admin, approvalRequestsGet, { request })).toMatchObject({ title: "Launch web-node from web" })
    const [made] = (await call(admin, instancesList, {})).items
    expect(made).toMatchObject({ state: "requested", owner: catalog.launcher.principal })
    const instance = made?.id ?? ""
    await catalog.fulfil({ node: "nod_1" })
    expect((await send("POST", `/v1/instances/${instance}:update`, { parameters: { disks: 2 } })).status).toBe(202)
    await approve(ada.key)
    await catalog.fulfil()
    expect((await send("POST", `/v1/instances/${instance}:end`, {})).status).toBe(202)
    await approve(ada.key)
    await catalog.fulfil()
    expect(await catalog.instance(instance)).toMatchObject({ state: "ended", parameters: { disks: 2 } })
    const { entries } = await call(admin, whyExplain, { id: instance })
    const told = entries.map(({ what }) => what)
    expect(told.filter((what) => what === "approval-request.approved")).toHaveLength(3)
    expect(told).toEqual(expect.arrayContaining(["catalog.launch", "instance.available", "instance.ended"]))
  })

  test("is judged again when it runs: what was narrowed or used up meanwhile is refused", async () => {
    const { call, admin } = catalog
    const ada = await catalog.member("ada", ["approver"])
    await hold({ portfolio: "web" })
    expect((await send("POST", "/v1/instances", launchOf({ parameters: { disks: 3 } }))).status).toBe(202)
    // The portfolio is of the association's too; its change has to be approved as well, so it is made in the database.
    await catalog.server.test.database.query(
      `update catalog_portfolios set definition = jsonb_set(definition, '{products,web-node,parameters}', '{"disks":{"max":2}}')`,
    )
    const request = await approve(ada.key)
    expect(await call(admin, heldOperationsGet, { request })).toMatchObject({
      state: "failed",
      error: { code: "catalog.constraint-violated" },
    })
    expect((await call(admin, instancesList, {})).items).toEqual([])
  })
})
