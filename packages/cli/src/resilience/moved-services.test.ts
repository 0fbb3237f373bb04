import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { approvalRequestsApprove } from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { heldOperationsWait } from "@signalbox/contracts/approvals/held-operations"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { windowsApply, windowsGet } from "@signalbox/contracts/calendars/windows"
import { actionsGet, actionsList, actionsRedrive, type actionRun } from "@signalbox/contracts/actions/operations"
import { groupsGet } from "@signalbox/contracts/fleet/operations"
import { authWhoami } from "@signalbox/contracts/identity/operations"
import { routesList } from "@signalbox/contracts/routing/operations"
import { rulesExplain, rulesPut } from "@signalbox/contracts/rules/operations"
import { createClient, type Client } from "@signalbox/sdk/client"
import { hasCode } from "@signalbox/kernel/app-error"
import { randomUUID } from "node:crypto"
import { afterAll, beforeAll, expect, test } from "vitest"
import type { z } from "zod"
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
    await first.eventually("the map to be in force", isInForce, endMilliseconds)
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

interface PutGroup {
  readonly status: number
  readonly code: string | undefined
  /** The runs that its reply announces. */
  readonly started: readonly string[]
}

/** At the first server, as curl would: the client doesn't show headers. */
async function putGroup(name: string): Promise<PutGroup> {
  const { key } = await first.admin()
  const response = await fetch(`http://127.0.0.1:${first.port}/v1/groups/${name}`, {
    method: "PUT",
    headers: {
      ...{ authorization: `Bearer ${key}`, "content-type": "application/json" },
      "idempotency-key": randomUUID(),
    },
    body: JSON.stringify({ query: "role=web" }),
  })
  const body = (await response.json()) as { readonly code?: string }
  const header = response.headers.get("signalbox-started") ?? ""
  return { status: response.status, code: body.code, started: header.match(/act_[0-9a-z]{26}/g) ?? [] }
}

async function putRules(prefix: string): Promise<void> {
  const starts = (word: string) => `input.name.startsWith("${prefix}-${word}")`
  const copy = { name: "copy-of-${{ input.name }}", query: "${{ input.query }}" }
  const rules = {
    copies: {
      on: [{ operation: "groups.put", phase: "after" as const }],
      when: starts("web"),
      do: [{ operation: "groups.put", input: copy }],
    },
    gates: {
      on: [{ operation: "groups.put", phase: "before" as const }],
      when: starts("prod"),
      do: [{ deny: { reason: "ask the platform team" } }],
    },
  }
  for (const [name, rule] of Object.entries(rules))
    await done(client.call(rulesPut, { name: `${prefix}-${name}`, ...rule }))
}

const succeeds = (run: string): Promise<z.output<typeof actionRun>> =>
  first.eventually(
    `${run} to succeed`,
    async () => {
      // It is queued a moment after the reply that announced it.
      const shown = await client.call(actionsGet, { action: run }).catch((error: unknown) => {
        if (hasCode(error, "actions.not-found")) return undefined
        throw error
      })
      return shown?.state === "succeeded" ? shown : false
    },
    endMilliseconds,
  )

/** Longer than a run that a dead server had claimed waits for another one. */
const endMilliseconds = 150_000

/** What rules do about a call that they deny and one that they follow. */
async function ruleStory(prefix: string): Promise<object> {
  await putRules(prefix)
  // A rule is in force on the other server within a second.
  const isDenied = async () => {
    const answer = await putGroup(`${prefix}-prod`)
    return answer.code === "rules.denied" && answer
  }
  const isFollowed = async () => {
    const answer = await putGroup(`${prefix}-web`)
    return answer.started.length > 0 && answer
  }
  const denied = await first.eventually("the rule to be in force", isDenied, endMilliseconds)
  const followed = await first.eventually("the rule to follow", isFollowed, endMilliseconds)
  const [run = ""] = followed.started
  const { state, operation, rule, number, depth, error } = await succeeds(run)
  const { items } = await client.call(actionsList, { rule: `${prefix}-copies` })
  const copied = await client.call(groupsGet, { name: `copy-of-${prefix}-web` })
  return {
    ...{ denied, status: followed.status, predicted: followed.started.length, copied: copied.query },
    run: { state, operation, number, depth, error, rule: rule.replace(prefix, "") },
    // Those that were announced are those that ran.
    all: items.map(({ id }) => id === run),
  }
}

const codeOf = (reply: Promise<unknown>): Promise<unknown> =>
  reply.then(
    () => "done",
    (error: unknown) => (error as { readonly code?: unknown }).code ?? error,
  )

/** How often each run called its operation with effect. */
async function effectsOf(runs: readonly string[]): Promise<readonly number[]> {
  const rows = await group.query<{ run: string; count: number }>(
    `select caused_by as run, count(*)::int as count from audit
     where principal like 'rule:%' and operation = 'groups.put' and outcome = 'done' group by caused_by`,
  )
  return runs.map((run) => rows.find((row) => row.run === run)?.count ?? 0)
}

const moved = "services: { rules: east, actions: east }\n"

test(
  "R15: rules and actions moved by rows give the same results; with that process dead rules go on deciding, actions run later",
  { timeout: timeoutMilliseconds },
  async () => {
    await applyMap(mapTo(second, ""))
    const here = await ruleStory("here")
    await applyMap(mapTo(second, moved))
    expect(await ruleStory("there")).toEqual(here)

    // Some runs are under way when it dies, some are queued, some of its jobs are locked.
    const before = await Promise.all(Array.from({ length: 20 }, (_, n) => putGroup(`there-web-${n}`)))
    await second.server.end("SIGKILL")
    const after = await Promise.all(Array.from({ length: 5 }, (_, n) => putGroup(`there-web-later-${n}`)))
    expect([...before, ...after].map(({ status, started }) => ({ status, started: started.length }))).toEqual(
      Array.from({ length: 25 }, () => ({ status: 200, started: 1 })),
    )
    expect(await putGroup("there-prod")).toMatchObject({ status: 403, code: "rules.denied" })

    const runs = [...before, ...after].flatMap(({ started }) => started)
    const [one = ""] = runs
    const unreachable = "routing.destination-unreachable"
    const rule = { on: [{ event: "node.enrolled" }], do: [{ operation: "groups.put", input: {} }] }
    expect(await codeOf(client.call(rulesPut, { name: "more", ...rule }))).toBe(unreachable)
    expect(await codeOf(client.call(rulesExplain, { name: "there-copies", event: "evt_1" }))).toBe(unreachable)
    expect(await codeOf(client.call(actionsRedrive, { action: one }))).toBe(unreachable)
    expect(await codeOf(client.call(actionsList, {}))).toBe(unreachable)
    // What follows the calls that were made since waits for it, whatever else this server does.
    const names = after.flatMap(({ started }) => started).map((id) => `'${id}'`)
    expect(await group.query(`select id from action_runs where id in (${names.join(", ")})`)).toEqual([])

    await group.start(second, asDestination)
    const ended = await Promise.all(runs.map((run) => succeeds(run)))
    expect(ended.map(({ id, state }) => ({ id, state }))).toEqual(runs.map((id) => ({ id, state: "succeeded" })))
    expect(await effectsOf(runs)).toEqual(runs.map(() => 1))
  },
)

test(
  "R15: rules taken out of one operation's row trigger nothing there, and everywhere else as before, without a restart",
  { timeout: timeoutMilliseconds },
  async () => {
    await applyMap(mapTo(second, moved))
    await putRules("row")
    const deny = [{ deny: { reason: "not now" } }]
    const on = [{ operation: "windows.apply", phase: "before" as const }]
    await done(client.call(rulesPut, { name: "row-windows", on, do: deny }))
    const window = { name: "row", cron: "0 3 * * *", zone: "UTC", duration: "2h" }
    const isInForce = async () =>
      (await codeOf(client.call(windowsApply, window))) === "rules.denied" &&
      (await putGroup("row-prod")).code === "rules.denied"
    await first.eventually("the rules to be in force", isInForce, endMilliseconds)
    await applyMap(mapTo(second, `${moved}routes: { groups.put: { rules: none } }`))
    expect(await putGroup("row-prod")).toEqual({ status: 200, code: undefined, started: [] })
    expect(await putGroup("row-web")).toEqual({ status: 200, code: undefined, started: [] })
    expect(await codeOf(client.call(windowsApply, window))).toBe("rules.denied")
    await applyMap(mapTo(second, moved))
    expect(await putGroup("row-prod")).toMatchObject({ status: 403, code: "rules.denied" })
    expect((await putGroup("row-web")).started).toHaveLength(1)
  },
)
