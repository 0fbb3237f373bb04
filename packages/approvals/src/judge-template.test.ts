import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { ApprovalRun, day, group, level, member, requester, TestWorld, who } from "./approval-run.fixture.ts"
import { judgeTemplate, withGroups } from "./judge-template.ts"
import type { GroupRule, LevelRule, TemplateRule, VotingStrategy } from "./template-rules.ts"

const groups = [
  group("g1", "ann", "bob", member("cleo", { weight: 3 })),
  group("solo", "ann"),
  group("empty"),
  group("gone", member("ann", { disabled: true })),
  group("twice", "ann", "ann"),
  group("heavy", member("ann", { weight: 101 })),
  group("boss", "dan"),
  group("mail", "ann", member("mailto:x@example.com", {})),
]

function judge(template: Partial<TemplateRule>, severity = "error"): string[] {
  const world = new TestWorld(...groups)
  const issues = judgeTemplate({ levels: [level()], ...template }, (name) => world.findGroup(name))
  return issues.filter((issue) => issue.severity === severity).map(({ path }) => path)
}

function judgeOne(more: Partial<LevelRule>, severity = "error"): string[] {
  return judge({ levels: [level(more)] }, severity)
}

const quorum = (count: number): VotingStrategy => ({ kind: "quorum", count })
const percentage = (percent: number): VotingStrategy => ({ kind: "percentage", percent })

describe("A16, V23: a template that can never be satisfied is refused", () => {
  test.each<[Partial<LevelRule>, string[]]>([
    [{}, []],
    [{ strategy: quorum(5) }, []],
    [{ strategy: quorum(6) }, ["levels[0]"]],
    [{ strategy: quorum(6), escalation: { afterMilliseconds: day, group: "boss" } }, []],
    [{ strategy: quorum(7), escalation: { afterMilliseconds: day, group: "boss" } }, ["levels[0]"]],
    [{ strategy: quorum(0) }, ["levels[0].strategy.count"]],
    [{ strategy: quorum(1.5) }, ["levels[0].strategy.count"]],
    [{ strategy: percentage(100) }, []],
    [{ strategy: percentage(0) }, ["levels[0].strategy.percent"]],
    [{ strategy: percentage(100.1) }, ["levels[0].strategy.percent", "levels[0]"]],
    [{ strategy: percentage(33.3333) }, ["levels[0].strategy.percent"]],
    [{ reject: { count: 0 } }, ["levels[0].reject.count", "levels[0]"]],
    [{ reject: { percent: 0 } }, ["levels[0].reject.percent"]],
    [{ group: "empty" }, ["levels[0].group"]],
    [{ group: "gone" }, ["levels[0].group"]],
    [{ group: "twice" }, ["levels[0].group"]],
    [{ group: "heavy" }, ["levels[0].group"]],
    [{ group: "none" }, ["levels[0].group"]],
    [{ escalation: { afterMilliseconds: day, group: "none" } }, ["levels[0].escalation.group"]],
    [{ escalation: { afterMilliseconds: 7 * day } }, ["levels[0].escalation.after"]],
    [{ escalation: { afterMilliseconds: 0 } }, ["levels[0].escalation.after"]],
    [{ expiresAfterMilliseconds: 31 * day }, ["levels[0].expiresAfter"]],
    [{ expiresAfterMilliseconds: 0 }, ["levels[0].expiresAfter"]],
    [{ reminders: { everyMilliseconds: 0 } }, ["levels[0].reminders.every"]],
  ])("%o: %o", (more, expected) => expect(judgeOne(more)).toEqual(expected))

  test.each<[Partial<TemplateRule>, string[]]>([
    [{ levels: [] }, ["levels"]],
    [{ levels: [level(), level()] }, ["levels"]],
    [{ levels: Array.from({ length: 11 }, (_, n) => level({ name: `l${n}` })) }, ["levels"]],
    [{ approveWhen: "request.cost < " }, ["approveWhen"]],
    [{ approveWhen: "request.nothing == 1" }, ["approveWhen"]],
    [{ denyWhen: "1" }, ["denyWhen"]],
    [{ keepVotesWhen: "request.cost < 1" }, ["keepVotesWhen"]],
    [{ keepVotesWhen: "after.n <= before.n", approveWhen: "request.cost < 50" }, []],
  ])("%o: %o", (template, expected) => expect(judge(template)).toEqual(expected))

  test("says where an expression is wrong", () => {
    const world = new TestWorld(...groups)
    const issues = judgeTemplate({ levels: [level()], denyWhen: "request.nothing" }, (name) => world.findGroup(name))
    expect(issues).toMatchObject([{ path: "denyWhen", line: 1, severity: "error" }])
  })

  test.each<[Partial<LevelRule>, string[]]>([
    [{ group: "solo" }, ["levels[0]"]],
    [{ group: "solo", selfApproval: true }, []],
    [{ veto: "marked" }, ["levels[0].veto"]],
    [{ reminders: { everyMilliseconds: 7 * day } }, ["levels[0].reminders.every"]],
    [{ escalation: { afterMilliseconds: day, jump: true } }, ["levels[0].escalation.jump"]],
    [{ escalation: { afterMilliseconds: day, group: "solo" } }, ["levels[0].escalation.group"]],
    [{ signedVotes: "required" }, []],
    [{ signedVotes: "required", group: "mail" }, ["levels[0].signedVotes"]],
    [{ group: "mail" }, []],
  ])("warns of %o: %o", (more, expected) => expect(judgeOne(more, "warning")).toEqual(expected))

  test("for a known requester, bans are looked at too", () => {
    const world = new TestWorld(...groups)
    const judgeFor = (key: string, teams: string[], more: Partial<LevelRule>) => {
      const asker = { ...who(key, teams), roles: [] }
      const options = { askers: { requester: asker, submitter: asker } }
      return judgeTemplate({ levels: [level(more)] }, (name) => world.findGroup(name), options).map(({ path }) => path)
    }
    expect(judgeFor("ann", [], { group: "solo" })).toEqual(["levels[0]"])
    expect(judgeFor("ann", [], { strategy: quorum(5) })).toEqual(["levels[0]"])
    expect(judgeFor("dan", [], { strategy: quorum(5) })).toEqual([])
  })

  test("V23: refused if, and only if, no votes approve a request that nobody of them made", () => {
    const strategies = fc.oneof(
      fc.constantFrom<VotingStrategy>(
        { kind: "any" },
        { kind: "all" },
        { kind: "majority" },
        { kind: "first-response" },
      ),
      fc.integer({ min: 1, max: 8 }).map(quorum),
      fc.constantFrom(1, 50, 100).map(percentage),
    )
    const keys = fc.uniqueArray(fc.constantFrom("a", "b", "c", "d"), { maxLength: 4 })
    const someone = fc.tuple(
      keys,
      fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 4, maxLength: 4 }),
      fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
    )
    const toGroup = (name: string, [made, weights, disabled]: [string[], number[], boolean[]]): GroupRule =>
      group(name, ...made.map((key, n) => member(key, { weight: weights[n] ?? 1, disabled: disabled[n] ?? false })))
    const property = fc.property(strategies, someone, fc.option(someone), (strategy, own, more) => {
      const world = new TestWorld(toGroup("g1", own), toGroup("boss", more ?? [[], [], []]))
      const escalation = { escalation: { afterMilliseconds: day, group: "boss" } }
      const rule = level({ strategy, ...(more && escalation) })
      const issues = judgeTemplate({ levels: [rule] }, (name) => world.findGroup(name))
      // Counted by a real request in which everybody says yes, at once or after the escalation.
      const run = new ApprovalRun(world, [rule], { submit: { requester, submitter: requester } })
      for (const key of ["a", "b", "c", "d"]) run.vote(key)
      run.wait(day)
      for (const key of ["a", "b", "c", "d"]) run.vote(key)
      const isEmpty = issues.some(({ message }) => message.startsWith("nobody in the group"))
      if (isEmpty) return
      expect(issues.some(({ severity }) => severity === "error")).toBe(run.is !== "approved by votes")
    })
    fc.assert(property, { numRuns: 500 })
  })
})

test("A5: an association's groups take the place of the template's, by level name", () => {
  const template = { levels: [level(), level({ name: "two", group: "g2" })], onExpiry: "approve" } as const
  const changed = withGroups(template, { two: "boss", toString: "x" })
  expect(changed.levels.map(({ group: name }) => name)).toEqual(["g1", "boss"])
  expect(changed.onExpiry).toBe("approve")
  expect(template.levels[1]?.group).toBe("g2")
})
