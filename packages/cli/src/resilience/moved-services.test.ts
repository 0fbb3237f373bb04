import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { approvalRequestsApprove } from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { heldOperationsWait } from "@signalbox/contracts/approvals/held-operations"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { windowsApply, windowsGet } from "@signalbox/contracts/calendars/windows"
import { authWhoami } from "@signalbox/contracts/identity/operations"
import { routesList } from "@signalbox/contracts/routing/operations"
import { createClient, type Client } from "@signalbox/sdk/client"
import { hasCode } from "@signalbox/kernel/app-error"
import { afterAll, beforeAll, expect, test } from "vitest"
import { openServerGroup, type ServerGroup } from "./chaos/servers-round.fixture.ts"
import type { TestInstallation } from "./processes.fixture.ts"

/** Real processes on one database: sub-services are moved from the first server to a second one by the map alone. */
const timeoutMilliseconds = 300_000
let group: ServerGroup
let first: TestInstallation
let second: TestInstallation
let client: Client
const asDestination = ["--destination", "east"]

beforeAll(async () => {
  group = await openServerGroup(1, ["--egress-allow", "127.0.0.1"])
  const [one] = group.servers
  if (!one) throw new Error("a group has a server")
  first = one
  second = await group.add(asDestination)
  const { key } = await first.admin()
  const url = `http://127.0.0.1:${first.port}`
  client = createClient({ url, key })
  await first.succeed(["login", "--server", url, "--key", key])
}, timeoutMilliseconds)
afterAll(async () => {
  await client.close()
  await group.remove({})
}, timeoutMilliseconds)

async function done<T>(
  reply: Promise<{ readonly status: "done"; readonly value: T } | { readonly status: "held" }>,
): Promise<T> {
  const given = await reply
  if (given.status === "held") throw new Error("held")
  return given.value
}

/** Applies a map by a file, and waits until the first server has it. */
async function applyMap(text: string): Promise<void> {
  const file = join(first.directory, "map.yaml")
  await writeFile(file, `kind: RoutingMap\n${text}`)
  await first.succeed(["apply", "-f", file])
  const [{ version }] = (await group.query<{ version: string }>(
    "select max(version) as version from routing_map_versions",
  )) as [{ version: string }]
  for (const { port } of [first, second]) {
    const own = createClient({ url: `http://127.0.0.1:${port}`, key: (await first.admin()).key })
    const isInForce = async () => (await own.call(routesList, { limit: 1 })).version === Number(version)
    await first.eventually("the map to be in force", isInForce)
    await own.close()
  }
}

const mapTo = (server: TestInstallation, services: string): string =>
  `destinations: { east: { url: "http://127.0.0.1:${server.port}" } }\n${services}`

/** Holds a change of a window, approves it, and gives what came of it. */
async function holdAndApprove(name: string): Promise<unknown> {
  const window = { name, cron: "0 3 * * *", zone: "UTC", duration: "2h" }
  const request = await first.eventually("the call to be held", async () => {
    const reply = await client.call(windowsApply, window)
    return reply.status === "held" ? reply.requestUrl.replace(/^.*\//, "") : false
  })
  const { digest } = await client.call(approvalRequestsGet, { request })
  await done(client.call(approvalRequestsApprove, { request, digest }))
  return first.eventually("the call to run", async () => {
    const held = await client.call(heldOperationsWait, { request, seconds: 30 })
    return held.state === "done" ? held.result : false
  })
}

test(
  "R3, R15: approvals moved by a row give the same results; with that process dead they are refused clearly",
  { timeout: timeoutMilliseconds },
  async () => {
    const { principal } = await client.call(authWhoami, {})
    const prepare = async (): Promise<void> => {
      await done(client.call(approvalGroupsApply, { name: "ops", members: [{ principal }] }))
      const levels = [{ name: "ops", group: "ops", strategy: { kind: "any" as const }, selfApproval: true }]
      await done(client.call(templatesApply, { name: "one-level", levels }))
      const selector = { operation: "windows.apply" }
      await done(client.call(associationsApply, { name: "windows", template: "one-level", selector }))
    }
    await prepare()
    const here = await holdAndApprove("here")
    await applyMap(mapTo(second, "services: { approvals: east }"))
    await prepare()
    const there = await holdAndApprove("there")
    expect(Object.keys(there as object)).toEqual(Object.keys(here as object))
    expect(there).toMatchObject({ name: "there" })

    await second.server.end("SIGKILL")
    const refused = await client
      .call(templatesApply, { name: "more", levels: [] as never })
      .catch((error: unknown) => error)
    expect(hasCode(refused, "request.invalid-input")).toBe(true)
    const lost = await client
      .call(approvalRequestsGet, { request: "apr_00000000000000000000000000" })
      .catch((error: unknown) => error)
    expect(hasCode(lost, "routing.destination-unreachable"), String(lost)).toBe(true)
    // The gate still asks in memory: what has to be held is not let through because nobody can hold it.
    const window = { name: "unheld", cron: "0 3 * * *", zone: "UTC", duration: "2h" }
    const gated = await client.call(windowsApply, window).catch((error: unknown) => error)
    expect(hasCode(gated, "routing.destination-unreachable"), String(gated)).toBe(true)
    expect(await client.call(windowsGet, { name: "there" })).toMatchObject({ name: "there" })

    await group.start(second, asDestination)
    expect(await holdAndApprove("again")).toMatchObject({ name: "again" })
    const missing = await first.run(["windows", "get", "unheld"])
    expect(missing.stderr).toContain("calendars.window-not-found")
  },
)
