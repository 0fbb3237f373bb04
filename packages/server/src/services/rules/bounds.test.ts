/** What a condition may say, and what is refused or comes to nothing so that nobody else waits: on a whole server. */
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { rulesGet, type rulesPut, rulesTest } from "@signalbox/contracts/rules/operations"
import type { CallInputOf } from "@signalbox/contracts/operation"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { startActions, type ActionsFixture } from "../actions/actions.fixture.ts"
import { untilTrue } from "../approvals/approvals.fixture.ts"

let fixture: ActionsFixture
beforeAll(async () => {
  fixture = await startActions()
  const members = [{ mail: "ada@example.org" }]
  await fixture.call(fixture.admin, approvalGroupsApply, { name: "leads", members })
}, 120_000)
afterAll(() => fixture.stop())

const makeGroup = {
  do: [{ operation: "groups.put", input: { name: "${{ event.data.name }}", query: "a=b" } }],
}
const put = async (rule: Omit<CallInputOf<typeof rulesPut>, "name" | "do">) =>
  (await fixture.server.call(fixture.admin, "PUT", "/v1/rules/bad", { ...makeGroup, ...rule })).body
const on = [{ event: "any.happened" }]

describe("R11: expressions that are made to hurt are refused when the rule is saved", () => {
  const many = (count: number, text: string, by: string) => Array.from({ length: count }, () => text).join(by)

  test.each([
    {
      what: "three loops inside one another",
      when: "event.data.a.all(x, event.data.a.all(y, event.data.a.all(z, x == y && y == z)))",
      code: "rules.invalid-rule",
    },
    {
      what: "more parts than an expression may have",
      when: many(300, "true", "||"),
      code: "rules.invalid-rule",
    },
    {
      what: "parts deep inside one another",
      when: `${many(70, "1 + (", "")}1${many(70, ")", "")} > 0`,
      code: "rules.invalid-rule",
    },
    { what: "a text that is too long", when: `"${"a".repeat(5_000)}" == "b"`, code: "request.invalid-input" },
    {
      what: "a pattern that counts to a million",
      when: "event.subject.matches('(a{1000}){1000}')",
      code: "rules.invalid-rule",
    },
    {
      what: "a pattern that looks back",
      when: String.raw`event.subject.matches(r'(a+)\1')`,
      code: "rules.invalid-rule",
    },
    { what: "a pattern that is data", when: "event.subject.matches(event.subject)", code: "rules.invalid-rule" },
  ])("$what", async ({ when, code }) => {
    const body = await put({ on, when })
    expect(body.code).toBe(code)
    expect(JSON.stringify(body["issues"])).toContain('"path":"when"')
    expect(await fixture.refusal(fixture.admin, rulesGet, { name: "bad" })).toBe("rules.rule-not-found")
  })

  test("many that are each within the bounds, together", async () => {
    const input = Object.fromEntries(Array.from({ length: 201 }, (_, index) => [`f${index}`, "${{ event.depth }}"]))
    const body = await put({ on, do: [{ operation: "executions.create", input: { parameters: input } }] } as never)
    expect(body.code).toBe("rules.invalid-rule")
    expect(JSON.stringify(body["issues"])).toContain("expressions")
  })
})

describe("R11: data that are made to hurt", () => {
  test("leave a condition without a result: others' rules fire, the server answers, and the rule says why", async () => {
    await fixture.rule("looping", {
      on: [{ event: "bomb.happened" }],
      when: "event.data.items.all(x, event.data.items.exists(y, y == x))",
      ...makeGroup,
    })
    await fixture.rule("backtracking", {
      on: [{ event: "bomb.happened" }],
      when: "event.data.text.matches('^(([a-z])+.)+[A-Z]([a-z])+$')",
      ...makeGroup,
    })
    await fixture.rule("unharmed", { on: [{ event: "bomb.happened" }], ...makeGroup })
    await fixture.tell("bomb.happened", ["bomb-1"], {
      data: { items: Array.from({ length: 10_000 }, (_, index) => 10_000 - index), text: "a".repeat(60_000) },
    })
    await fixture.runs("unharmed", { count: 1, states: ["succeeded"] })
    const faultOf = async (name: string) => (await fixture.call(fixture.admin, rulesGet, { name })).lastFault
    await untilTrue(async () => (await faultOf("looping")) !== undefined)
    expect((await faultOf("looping"))?.message).toMatch(/20,?000/)
    // In time linear in the text it is found that it doesn't match, or it is over the bound: never more than that.
    expect(await fixture.runs("backtracking", { count: 0 })).toEqual([])
    expect(await fixture.runs("looping", { count: 0 })).toEqual([])
    expect((await fixture.server.call(fixture.admin, "GET", "/v1/auth/whoami")).status).toBe(200)
  })
})

const event = (data: object) => ({ type: "any.happened", data: { name: "n", ...data } })
const verdict = async (when: string, data: object) => {
  const rule = { name: "draft", on, when, ...makeGroup }
  return (await fixture.call(fixture.admin, rulesTest, { rule, event: event(data) })).outcome
}

describe("R11: what a condition can say", () => {
  test.each([
    {
      what: "and, or, not",
      when: "(event.data.a || event.data.b) && !event.data.c",
      yes: { a: false, b: true, c: false },
      no: { a: true, b: true, c: true },
    },
    { what: "ranges", when: "event.data.n >= 3 && event.data.n <= 5", yes: { n: 5 }, no: { n: 6 } },
    {
      what: "addresses in a network",
      when: "cidr('10.1.0.0/16').containsIP(event.data.ip)",
      yes: { ip: "10.1.2.3" },
      no: { ip: "10.2.2.3" },
    },
    {
      what: "versions",
      when: "semver(event.data.v).isLessThan(semver('1.10.0'))",
      yes: { v: "1.9.9" },
      no: { v: "1.10.0" },
    },
    { what: "all of a list", when: "event.data.list.all(x, x > 0)", yes: { list: [1, 2] }, no: { list: [1, 0] } },
    {
      what: "any of a list",
      when: "event.data.list.exists(x, x == 'web')",
      yes: { list: ["db", "web"] },
      no: { list: ["db"] },
    },
    {
      what: "patterns without backtracking",
      when: "event.data.name.matches('^(n+)+$')",
      yes: { name: "n".repeat(500) },
      no: { name: `${"n".repeat(500)}!` },
    },
  ])("$what", async ({ when, yes, no }) => {
    expect([await verdict(when, yes), await verdict(when, no)]).toEqual(["matched", "not-matched"])
  })

  test("several actions of one rule are all performed", async () => {
    const make = (name: string) => ({ operation: "groups.put", input: { name, query: "a=b" } })
    await fixture.rule("several", { on: [{ event: "several.happened" }], do: [make("several-1"), make("several-2")] })
    await fixture.tell("several.happened", ["one"])
    const runs = await fixture.runs("several", { count: 2, states: ["succeeded"] })
    expect(new Set(runs.map(({ number }) => number))).toEqual(new Set([0, 1]))
  })
})

describe("R9: one language, wherever something is asked of data", () => {
  const wrong = "event.dada.n > 1"
  const level = { name: "only", group: "leads", strategy: { kind: "any" } }

  test.each([
    { where: "a rule's condition", path: "/v1/rules/wrong", body: { on, when: wrong, ...makeGroup } },
    {
      where: "a rule's grouping",
      path: "/v1/rules/wrong",
      body: { on, limit: { onceWithin: "1m", by: [wrong] }, ...makeGroup },
    },
    {
      where: "an action's input",
      path: "/v1/rules/wrong",
      body: { on, do: [{ operation: "groups.put", input: { name: `\${{ ${wrong} }}`, query: "a=b" } }] },
    },
    {
      where: "a member of a correlation",
      path: "/v1/rules/wrong",
      body: { correlate: { any: [{ event: "a.b", when: wrong }], within: "1m" }, ...makeGroup },
    },
    { where: "a subscription", path: "/v1/subscriptions/wrong", body: { channel: "none", events: ["*"], when: wrong } },
    {
      where: "an approval template",
      path: "/v1/approval-templates/wrong",
      body: { levels: [level], approveWhen: wrong },
    },
  ])("$where names what is unknown, and where", async ({ path, body }) => {
    const refused = await fixture.server.call(fixture.admin, "PUT", path, body)
    expect(refused.status).toBe(400)
    expect(JSON.stringify(refused.body)).toMatch(/dada|event/)
    expect(JSON.stringify(refused.body["issues"])).toMatch(/"line":1,"column":\d+|line 1, column \d+/)
  })
})
