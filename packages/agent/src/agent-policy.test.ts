import { createHash } from "node:crypto"
import type { StepOrder, TaskOrder } from "@signalbox/contracts/fleet/agent-protocol"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { type AgentPolicy, agentPolicy, decide, decideProbe, judgePath } from "./agent-policy.ts"

const digest = (text: string) => createHash("sha256").update(text).digest("hex")
const facts = { agentUser: "agent", digest }

const settings = {
  environment: {},
  timeoutMilliseconds: 1000,
  outputKeptBytes: 0,
  attemptsMax: 1,
  retryDelayMilliseconds: 0,
}
const step = (more: Partial<StepOrder>): StepOrder => ({ name: "one", ...settings, ...more })
const order = (steps: StepOrder[], more: Partial<TaskOrder> = {}): TaskOrder => ({
  save: [],
  steps,
  timeoutMilliseconds: 1000,
  ...more,
})
const policy = (given: object): AgentPolicy => agentPolicy.parse(given)
const ruleOf = (given: object, asked: TaskOrder) => decide(policy(given), asked, facts)?.rule

const run = (program: string) => step({ command: { argv: [program, "x"] } })
const shell = (text: string) => step({ command: { shell: text } })
const put = (path: string) => step({ file: { path, content: "x" } })

describe("a rule refuses what it doesn't list, and only that", () => {
  const cases: Array<[string, object, TaskOrder, TaskOrder]> = [
    ["steps", { steps: ["file"] }, order([put("a")]), order([run("true")])],
    ["steps", { steps: ["command"] }, order([run("a")]), order([step({ server: "http" })])],
    [
      "steps",
      { steps: ["file"] },
      order([put("a")]),
      order([put("a"), step({ file: { path: "a" }, undo: { shell: "x" } })]),
    ],
    ["steps", { steps: ["command"] }, order([run("a")]), order([step({ unheardOf: {} } as object)])],
    ["users", { users: ["agent"] }, order([run("a")]), order([step({ command: { shell: "a" }, user: "root" })])],
    ["users", { users: ["app"] }, order([step({ command: { shell: "a" }, user: "app" })]), order([run("a")])],
    ["users", { users: ["app"] }, order([put("a")]), order([step({ file: { path: "a", content: "", mode: 0o4755 } })])],
    ["paths", { paths: ["/etc/app"] }, order([put("etc/app/x")]), order([put("/etc/apple")])],
    ["paths", { paths: ["/etc/app"] }, order([put("//etc/./app")]), order([put("/etc/app/../passwd")])],
    [
      "paths",
      { paths: ["/etc/app"] },
      order([run("a")], { save: ["etc/app/y"] }),
      order([run("a")], { save: ["etc"] }),
    ],
    ["paths", { paths: ["/"] }, order([run("a")], { whole: true }), order([run("a")], { save: [".."] })],
    ["paths", { paths: ["/etc"] }, order([run("a")]), order([run("a")], { whole: true })],
    [
      "services",
      { services: ["nginx"] },
      order([step({ service: { name: "nginx" } })]),
      order([step({ service: { name: "sshd" } })]),
    ],
    ["commands", { commands: { programs: ["/bin/ls"] } }, order([run("/bin/ls")]), order([run("ls")])],
    ["commands", { commands: { programs: ["ls"] } }, order([run("ls")]), order([shell("ls")])],
    [
      "commands",
      { commands: { shells: [`sha256:${digest("uptime")}`] } },
      order([shell("uptime")]),
      order([shell("uptime ")]),
    ],
    [
      "commands",
      { commands: { programs: ["ls"] } },
      order([run("ls")]),
      order([step({ command: { argv: [[{ secret: "s" }]] } })]),
    ],
    [
      "commands",
      { commands: { programs: ["ls"], environment: ["LANG"] } },
      order([step({ command: { argv: ["ls"] }, environment: { LANG: "C" } })]),
      order([step({ command: { argv: ["ls"] }, environment: { LD_PRELOAD: "/tmp/x.so" } })]),
    ],
    [
      "commands",
      { commands: { programs: ["ls"] } },
      order([run("ls")]),
      order([step({ command: { argv: ["ls"] }, undo: { shell: "rm -rf /" } })]),
    ],
    [
      "steps",
      { commands: { programs: ["ls"] }, steps: ["playbook", "command"] },
      order([step({ playbook: { path: "p", variables: {}, tags: [] } })]),
      order([step({ wait: { milliseconds: 1 } })]),
    ],
    [
      "steps",
      { paths: ["/etc"] },
      order([put("etc/x")]),
      order([step({ playbook: { path: "p", variables: {}, tags: [] } })]),
    ],
    ["durationMax", { durationMax: "1s" }, order([run("a")]), order([run("a")], { timeoutMilliseconds: 1001 })],
    [
      "durationMax",
      { durationMax: "1s" },
      order([run("a")]),
      order([step({ command: { shell: "a" }, timeoutMilliseconds: 2000 })]),
    ],
  ]
  test.each(cases)("%s: %j", (...[rule, given, allowed, refused]) => {
    expect(ruleOf(given, allowed)).toBeUndefined()
    expect(ruleOf(given, refused)).toBe(rule)
  })

  test("a health check is a command of the agent's own user, and a kind of its own", () => {
    const probe = { command: { argv: ["curl"] }, timeoutMilliseconds: 500 }
    expect(decideProbe(policy({ commands: { programs: ["curl"] } }), probe, facts)).toBeUndefined()
    expect(decideProbe(policy({ steps: ["command"] }), probe, facts)?.rule).toBe("steps")
    expect(decideProbe(policy({ commands: {} }), probe, facts)?.rule).toBe("commands")
    expect(decideProbe(policy({ users: ["app"] }), probe, facts)?.rule).toBe("users")
    expect(decideProbe(policy({ durationMax: "100ms" }), probe, facts)?.rule).toBe("durationMax")
  })

  test("members that it doesn't know are no policy", () => {
    for (const given of [{ requireApproval: true }, { commands: { programs: ["a"], deny: ["b"] } }, { paths: ["etc"] }])
      expect(agentPolicy.safeParse(given).success).toBe(false)
  })
})

const name = fc.constantFrom("a", "b", "c", "agent")
const path = fc
  .array(fc.constantFrom("etc", "app", "x", ".", "..", ""), { maxLength: 4 })
  .map((parts) => parts.join("/"))
const undo = fc.option(
  fc.oneof(fc.record({ shell: name }), fc.record({ argv: fc.array(name, { minLength: 1, maxLength: 2 }) })),
  { nil: undefined },
)
const anyStep = fc
  .record({
    kind: fc.oneof(
      fc.record({ command: fc.record({ argv: fc.array(name, { minLength: 1, maxLength: 2 }) }) }),
      fc.record({ command: fc.record({ shell: name }) }),
      fc.record({ file: fc.record({ path: path.map((text) => text || "x"), mode: fc.constantFrom(0o644, 0o4755) }) }),
      fc.record({ service: fc.record({ name }) }),
      fc.record({ server: fc.constantFrom("http" as const, "operation" as const) }),
      fc.constant({ playbook: { path: "p", variables: {}, tags: [] as string[] } }),
    ),
    user: fc.option(name, { nil: undefined }),
    variable: fc.option(name, { nil: undefined }),
    undo,
    timeoutMilliseconds: fc.integer({ min: 1, max: 3000 }),
  })
  .map(({ kind, user, variable, undo: undoing, timeoutMilliseconds }) =>
    step({
      ...kind,
      timeoutMilliseconds,
      environment: variable === undefined ? {} : { [variable]: "1" },
      ...(user !== undefined && { user }),
      ...(undoing !== undefined && { undo: undoing }),
    }),
  )
const anyOrder = fc
  .record({ steps: fc.array(anyStep, { minLength: 1, maxLength: 3 }), save: fc.array(path, { maxLength: 2 }) })
  .map(({ steps, save }) => order(steps, { save }))
const anyPolicy = fc
  .record(
    {
      steps: fc.uniqueArray(fc.constantFrom("command", "file", "service", "playbook", "server")),
      users: fc.uniqueArray(name),
      paths: fc.uniqueArray(fc.constantFrom("/", "/etc", "/etc/app")),
      services: fc.uniqueArray(name),
      commands: fc.record({
        programs: fc.uniqueArray(name),
        shells: fc.uniqueArray(name.map((text) => `sha256:${digest(text)}`)),
        environment: fc.uniqueArray(name),
      }),
      durationMax: fc.constantFrom("1s", "2s"),
    },
    { requiredKeys: [] },
  )
  .map((given) => agentPolicy.parse(given))

describe("properties", () => {
  test("an empty policy refuses nothing", () => {
    fc.assert(fc.property(anyOrder, (asked) => decide({}, asked, facts) === undefined))
  })

  test("taking a rule away never refuses what was allowed, but for a playbook that it named", () => {
    fc.assert(
      fc.property(
        anyPolicy,
        anyOrder,
        fc.constantFrom("users", "paths", "services", "commands", "durationMax"),
        (given, asked, rule) => {
          const { [rule as "users"]: _, ...wider } = given
          return decide(given, asked, facts) !== undefined || decide(wider, asked, facts) === undefined
        },
      ),
    )
  })

  test("an order is refused exactly where one of its steps alone, or what it saves, is", () => {
    fc.assert(
      fc.property(anyPolicy, anyOrder, (given, asked) => {
        const parts = [order([step({ wait: { milliseconds: 0 } })], { save: asked.save })]
        const isKindAllowed = given.steps === undefined
        const alone = asked.steps.map((one) => order([one]))
        const isRefused = [...alone, ...(isKindAllowed ? parts : [])].some((one) => decide(given, one, facts))
        const savesOutside = asked.save.some((one) => judgePath(given, one))
        return (decide(given, asked, facts) !== undefined) === (isRefused || savesOutside)
      }),
    )
  })

  test("no path with `..` is within anything", () => {
    fc.assert(
      fc.property(path, (text) => !text.split("/").includes("..") || judgePath({ paths: ["/"] }, text) !== undefined),
    )
  })
})
