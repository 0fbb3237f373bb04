/** Rules before operations: what they deny, rewrite, delay and want approved, over a whole server. */
import { approvalRequestsApprove } from "@signalbox/contracts/approvals/answers"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { heldOperationsEdit, heldOperationsGet } from "@signalbox/contracts/approvals/held-operations"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { rulesGet, rulesList, rulesPut, rulesRemove } from "@signalbox/contracts/rules/operations"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import { startApprovals, untilTrue, type ApprovalsFixture, type Member } from "../approvals/approvals.fixture.ts"
import { addJob } from "../../storage/background-queue.ts"
import type { Answer } from "../../http/edge.fixture.ts"

let fixture: ApprovalsFixture
let ada: Member
let bob: Member
let other: Member

beforeAll(async () => {
  fixture = await startApprovals()
  ada = await fixture.member("ada", ["approver"])
  bob = await fixture.member("bob", ["operator"])
  other = await fixture.key("other-admin", ["admin"], "other")
  const { admin } = fixture
  await fixture.call(admin, approvalGroupsApply, { name: "leads", members: [{ principal: ada.principal }] })
  const levels = [{ name: "only", group: "leads", strategy: { kind: "any" as const } }]
  await fixture.call(admin, templatesApply, { name: "one", levels })
  await fixture.call(admin, templatesApply, { name: "two", levels })
}, 60_000)
afterAll(() => fixture.stop())

afterEach(async () => {
  const { items } = await fixture.call(fixture.admin, rulesList, {})
  for (const { name } of items) await fixture.call(fixture.admin, rulesRemove, { name })
})

type Written = Parameters<typeof fixture.call<typeof rulesPut>>[2]

async function put(rule: Written): Promise<void> {
  await fixture.call(fixture.admin, rulesPut, rule)
}

const before = (operation: string) => [{ operation, phase: "before" as const }]

function setWindow(name: string, more: object = {}, key = fixture.admin): Promise<Answer> {
  const spec = { cron: "0 3 * * *", zone: "UTC", duration: "2h", ...more }
  return fixture.server.call(key, "PUT", `/v1/windows/${name}`, spec)
}

describe("R7: a rule that denies", () => {
  test("answers 403 with its name and its reason, and the call leaves a record", async () => {
    await put({
      name: "no-night",
      on: before("windows.*"),
      when: "has(input.name) && input.name.startsWith('night')",
      do: [{ deny: { reason: "nights are for sleeping" } }],
    })
    const denied = await setWindow("night-1")
    expect(denied).toMatchObject({
      status: 403,
      body: { code: "rules.denied", details: { rule: "no-night", reason: "nights are for sleeping" } },
    })
    expect(String(denied.body["detail"])).toContain('the rule "no-night" refuses windows.apply')
    expect((await setWindow("day-1")).status).toBe(200)
    const audit = await fixture.server.call(fixture.admin, "GET", "/v1/audit?operation=windows.apply")
    expect(JSON.stringify(audit.body)).toContain("rules.denied")
  })

  test("reads are denied too, and nothing of them is written", async () => {
    await put({ name: "blind", on: before("windows.list"), do: [{ deny: { reason: "not now" } }] })
    expect((await fixture.server.call(fixture.admin, "GET", "/v1/windows")).body.code).toBe("rules.denied")
  })

  test("sees who calls", async () => {
    await put({
      name: "admins-only",
      on: before("workflows.validate"),
      when: "!('platform' in caller.roles) && caller.kind == 'service-account'",
      do: [{ deny: { reason: "ask an administrator" } }],
    })
    const validate = (key: string) =>
      fixture.server.call(key, "POST", "/v1/operations/workflows.validate", { document: "kind: Workflow" })
    expect((await validate(bob.key)).body.code).toBe("rules.denied")
    expect((await validate(fixture.admin)).status).toBe(200)
  })

  test("one that denies everybody can be mended by who may write rules, and by nobody else", async () => {
    await put({ name: "closed", on: before("*"), do: [{ deny: { reason: "closed" } }] })
    expect((await setWindow("day-2")).body.code).toBe("rules.denied")
    expect((await fixture.server.call(fixture.admin, "GET", "/v1/auth/whoami")).body.code).toBe("rules.denied")
    expect((await fixture.server.call(bob.key, "GET", "/v1/rules")).body.code).toBe("rules.denied")
    const login = { account: "main", user: "nobody", password: "a password that nobody has" }
    const refused = await fixture.server.call(undefined, "POST", "/v1/operations/auth.login", login)
    expect(refused.body.code).not.toBe("rules.denied")
    expect((await fixture.server.call(fixture.admin, "GET", "/v1/rules/closed")).status).toBe(200)
    await fixture.call(fixture.admin, rulesRemove, { name: "closed" })
    expect((await setWindow("day-2")).status).toBe(200)
  })

  test("another account's calls are never asked about", async () => {
    await put({ name: "closed", on: before("*"), do: [{ deny: { reason: "closed" } }] })
    expect((await setWindow("day-3", {}, other.key)).status).toBe(200)
    expect((await fixture.server.call(other.key, "GET", "/v1/rules/closed")).body.code).toBe("rules.rule-not-found")
  })

  test("one that is not enabled decides nothing", async () => {
    const closed = { name: "closed", on: before("windows.apply"), do: [{ deny: { reason: "closed" } }] }
    await put({ ...closed, enabled: false })
    expect((await setWindow("day-4")).status).toBe(200)
    await put({ ...closed, enabled: true })
    expect((await setWindow("day-4", { duration: "3h" })).body.code).toBe("rules.denied")
    await put(closed)
    expect(await fixture.call(fixture.admin, rulesGet, { name: "closed" })).toMatchObject({ enabled: true })
  })
})

describe("R7: a rule whose condition has no result", () => {
  test("refuses the call where it gates, and is flagged", async () => {
    await put({
      name: "typo",
      on: before("windows.apply"),
      when: "int(input.name) > 1",
      do: [{ deny: { reason: "never" } }],
    })
    const refused = await setWindow("day-5")
    expect(refused).toMatchObject({ status: 403, body: { code: "rules.condition-failed", details: { rule: "typo" } } })
    await untilTrue(async () => (await fixture.call(fixture.admin, rulesGet, { name: "typo" })).lastFault !== undefined)
    const { lastFault } = await fixture.call(fixture.admin, rulesGet, { name: "typo" })
    expect(lastFault).toMatchObject({ count: 1 })
    expect(lastFault?.message).toContain("int(input.name)")
  })
})

describe("R7: a rule that rewrites", () => {
  test("sets the fields that it names, and the reply says so", async () => {
    await put({
      name: "short",
      on: before("windows.apply"),
      when: "duration(input.duration) > duration('1h')",
      do: [{ rewrite: { duration: "1h", description: "cut from ${{ input.duration }}" } }],
    })
    const done = await setWindow("cut")
    expect(done).toMatchObject({ status: 200, body: { description: "cut from 2h" } })
    expect(done.body["duration"]).toMatch(/^(?:1h|PT1H|3600s)$/)
    expect(done.headers.get("signalbox-rules")).toBe("short@1")
    const same = await setWindow("cut-not", { duration: "30m" })
    expect(same.headers.get("signalbox-rules")).toBeNull()
  })

  test("what it makes is checked: an invalid input and a contradiction are refused by name", async () => {
    await put({
      name: "spoil",
      on: before("windows.apply"),
      when: "input.name == 'spoilt'",
      do: [{ rewrite: { duration: "${{ input.zone }}" } }],
    })
    expect(await setWindow("spoilt")).toMatchObject({
      status: 409,
      body: { code: "rules.rewrite-refused", details: { rules: ["spoil"] } },
    })
    for (const duration of ["1h", "3h"])
      await put({ name: `make-${duration}`, on: before("windows.apply"), do: [{ rewrite: { duration } }] })
    expect(await setWindow("torn")).toMatchObject({
      status: 409,
      body: { code: "rules.rewrite-refused", details: { rules: ["make-1h", "make-3h"] } },
    })
  })

  test("what it makes is held against the rules that deny", async () => {
    await put({ name: "longer", on: before("windows.apply"), do: [{ rewrite: { duration: "9h" } }] })
    await put({
      name: "not-long",
      on: before("windows.apply"),
      when: "duration(input.duration) > duration('8h')",
      do: [{ deny: { reason: "too long" } }],
    })
    expect(await setWindow("stretched")).toMatchObject({ status: 403, body: { details: { rule: "not-long" } } })
  })
})

describe("R7: a rule that wants approval, or a delay", () => {
  const requestOf = (held: Answer): string => String(held.body["requestUrl"]).replace(/^.*\//, "")

  async function approve(request: string): Promise<void> {
    const { digest } = await fixture.call(fixture.admin, approvalRequestsGet, { request })
    await fixture.call(ada.key, approvalRequestsApprove, { request, digest })
  }

  const stateOf = async (request: string) => (await fixture.call(fixture.admin, heldOperationsGet, { request })).state

  test("the call is held for the template's approvers, with what a rule made of it, and runs once", async () => {
    await put({
      name: "two-eyes",
      on: before("windows.apply"),
      when: "input.name == 'held'",
      do: [{ requireApproval: { template: "one" } }, { rewrite: { description: "by rule" } }],
    })
    const held = await setWindow("held")
    expect(held.status).toBe(202)
    expect(held.headers.get("signalbox-rules")).toBe("two-eyes@1")
    const request = requestOf(held)
    const shown = await fixture.call(fixture.admin, approvalRequestsGet, { request })
    expect(JSON.stringify(shown)).toContain("by rule")
    expect(await stateOf(request)).toBe("waiting")
    await approve(request)
    await untilTrue(async () => (await stateOf(request)) === "done")
    const windows = await fixture.server.call(fixture.admin, "GET", "/v1/windows/held")
    expect(windows.body).toMatchObject({ description: "by rule", version: 1 })
  })

  test("each template is asked once, one after the other", async () => {
    await put({ name: "first", on: before("windows.apply"), do: [{ requireApproval: { template: "one" } }] })
    await put({
      name: "second",
      on: before("windows.*"),
      when: "operation == 'windows.apply'",
      do: [{ requireApproval: { template: "two" } }, { requireApproval: { template: "one" } }],
    })
    const request = requestOf(await setWindow("held-twice"))
    await approve(request)
    expect(await stateOf(request)).toBe("waiting")
    await approve(request)
    await untilTrue(async () => (await stateOf(request)) === "done")
  })

  test("what is held is denied when it is to run, if a rule denies it by then", async () => {
    await put({ name: "first", on: before("windows.apply"), do: [{ requireApproval: { template: "one" } }] })
    const request = requestOf(await setWindow("held-denied"))
    await put({ name: "stop", on: before("windows.apply"), do: [{ deny: { reason: "an incident" } }] })
    await approve(request)
    await untilTrue(async () => (await stateOf(request)) === "failed")
    const { error } = await fixture.call(fixture.admin, heldOperationsGet, { request })
    expect(error).toMatchObject({ code: "rules.denied" })
  })

  test("an edit of a held call can't evade whom a rule wants to be asked", async () => {
    await put({ name: "first", on: before("windows.apply"), do: [{ requireApproval: { template: "one" } }] })
    await put({
      name: "long",
      on: before("windows.apply"),
      when: "duration(input.duration) > duration('4h')",
      do: [{ requireApproval: { template: "two" } }],
    })
    const request = requestOf(await setWindow("held-edited"))
    const edit = (duration: string) => ({
      ...{ request, revision: 1 },
      newInput: { name: "held-edited", cron: "0 3 * * *", zone: "UTC", duration },
    })
    expect(await fixture.refusal(fixture.admin, heldOperationsEdit, edit("5h"))).toBe("approvals.edit-conflict")
    await fixture.call(fixture.admin, heldOperationsEdit, edit("3h"))
    await approve(request)
    await untilTrue(async () => (await stateOf(request)) === "done")
  })

  test("a delayed call is nobody's to approve, and runs once when its time has come", async () => {
    await put({ name: "later", on: before("windows.apply"), do: [{ delay: "30m" }] })
    const held = await setWindow("delayed")
    expect(held.status).toBe(202)
    const request = requestOf(held)
    await untilTrue(async () => (await stateOf(request)) === "approved")
    expect((await fixture.server.call(fixture.admin, "GET", "/v1/windows/delayed")).status).toBe(404)
    const { notBefore } = await fixture.call(fixture.admin, heldOperationsGet, { request })
    expect(Date.parse(notBefore ?? "") - fixture.clock.now()).toBeGreaterThan(29 * 60_000)
    expect(Date.parse(notBefore ?? "") - fixture.clock.now()).toBeLessThanOrEqual(30 * 60_000)
    // The queue goes by the database's clock; asked for too early, it waits on.
    const { database } = fixture.server.test
    const job = { task: "approvals.run-held", key: request, payload: { account: "main", requestId: request } }
    await addJob(database, job)
    const jobs = () =>
      database.query("select 1 from graphile_worker.jobs where key = $1 and run_at <= now()", [
        `${job.task}:${request}`,
      ])
    await untilTrue(async () => (await jobs()).length === 0)
    expect(await stateOf(request)).toBe("approved")
    fixture.clock.advance(31 * 60_000)
    await addJob(database, job)
    await untilTrue(async () => (await stateOf(request)) === "done")
    const { body } = await fixture.server.call(fixture.admin, "GET", "/v1/windows/delayed")
    expect(body).toMatchObject({ name: "delayed", version: 1 })
  })

  test("a template that isn't there is refused when the rule is stored", async () => {
    const rule = { name: "none", on: before("windows.apply"), do: [{ requireApproval: { template: "nobody" } }] }
    expect(await fixture.refusal(fixture.admin, rulesPut, rule)).toBe("rules.invalid-rule")
  })

  test("what can't wait is not held by a pattern", async () => {
    await put({ name: "all-windows", on: before("windows.*"), do: [{ requireApproval: { template: "one" } }] })
    expect((await fixture.server.call(fixture.admin, "GET", "/v1/windows")).status).toBe(200)
  })
})
