import { describe, expect, test } from "vitest"
import { ApprovalRun, day, group, level, start, TestWorld, who } from "./approval-run.fixture.ts"
import { nextTimerAt } from "./next-timer-at.ts"
import type { TemplateRule } from "./template-rules.ts"

const world = (): TestWorld => new TestWorld(group("g1", "ann", "bob", "cleo"), group("g2", "dan", "eve"))
const quorum = { kind: "quorum", count: 2 } as const
const levels = [level({ strategy: quorum }), level({ name: "two", group: "g2", strategy: quorum })]

describe("a request that nothing matches", () => {
  test.each([
    ["refuse", "denied by unmatched-policy"],
    ["approve", "approved by unmatched-policy"],
    ["wait", "unmatched"],
  ] as const)("A5: with the policy %s is %s", (unmatched, expected) => {
    const run = new ApprovalRun(world(), null, { submit: { unmatched } })
    expect(run.is).toBe(expected)
  })

  test("A5: waits for a template, which may be given afterwards, once", () => {
    const run = new ApprovalRun(world(), null)
    expect(run.edit("d2")).toBe("accepted")
    run.wait(day)
    const match = { type: "match", template: { name: "t", version: 3, rule: { levels } }, content: {} } as const
    expect(run.do({ ...match, by: who("admin") })).toBe("accepted")
    expect(run.is).toBe("open at 1")
    expect(nextTimerAt(run.state)).toBe(start + 8 * day)
    expect(run.state).toMatchObject({ digest: "d2", revision: 2, unmatchedUntil: null })
    expect(run.do({ ...match, by: who("admin") })).toBe("already-matched")
    expect(run.events("approval-request.matched")).toMatchObject([{ template: "t", version: 3, by: { key: "admin" } }])
  })
})

describe("A10: members of later levels", () => {
  test("are told that a request is on its way, unless the level says otherwise", () => {
    const three = [...levels, level({ name: "three", group: "g1", preNotice: false })]
    const run = new ApprovalRun(world(), three)
    expect(run.told("pre-notice")).toEqual(["dan", "eve"])
    expect(run.told("decide")).toEqual(["ann", "bob", "cleo"])
  })

  test("V21: hear nothing of a request that has ended before", () => {
    const run = new ApprovalRun(world(), levels, { template: { approveWhen: "request.content.cost < 50" } })
    expect(run.is).toBe("approved by criteria")
    expect(run.told("pre-notice")).toEqual([])
    expect(run.told("result")).toEqual(["req"])
  })
})

describe("A11: criteria", () => {
  const decided = (template: Partial<TemplateRule>, attributes = {}): ApprovalRun =>
    new ApprovalRun(world(), levels, { template, submit: { attributes: { type: "purchase", ...attributes } } })

  test.each<[Partial<TemplateRule>, string]>([
    [{ approveWhen: "request.cost < 50" }, "approved by criteria"],
    [{ approveWhen: "request.cost < 40" }, "open at 1"],
    [{ denyWhen: "request.cost > 20" }, "denied by criteria"],
    [{ approveWhen: "true", denyWhen: "true" }, "denied by criteria"],
    [{ approveWhen: "request.requester.id == 'req' && 'blue' in request.requester.teams" }, "approved by criteria"],
    [{ approveWhen: "request.type == 'purchase' && request.attributes.type == 'purchase'" }, "approved by criteria"],
    [{ approveWhen: "calendar.open && now < timestamp('2027-01-01T00:00:00Z')" }, "approved by criteria"],
    [{ denyWhen: "has(request.product)" }, "open at 1"],
  ])("%o: %s", (template, expected) => {
    expect(decided(template, { cost: 42.5 }).is).toBe(expected)
  })

  test("V17: that can't be evaluated decide nothing, and let nothing be approved by default", () => {
    const run = decided({ denyWhen: "request.cost > 20", approveWhen: "true", onExpiry: "approve" })
    expect(run.is).toBe("open at 1")
    expect(run.state.criteriaFault).toContain("cost")
    run.wait(7 * day)
    expect(run.is).toBe("expired by timeout")
  })

  test("are asked again after an edit", () => {
    const run = decided({ approveWhen: "request.content.n == 2" })
    expect(run.state.criteriaFault).toContain("n")
    run.vote("ann")
    run.edit("d2")
    expect(run.is).toBe("approved by criteria")
    expect(run.state.criteriaFault).toBeNull()
    expect(run.told("outdated")).toEqual(["ann"])
    expect(run.state.levels.map(({ state }) => state)).toEqual(["waiting", "waiting"])
  })
})

describe("A14: an edit", () => {
  test("V3, V5: leaves no vote, and begins again at the first level, with members and clocks of now", () => {
    const run = new ApprovalRun(world(), levels)
    run.vote("ann")
    run.vote("bob")
    run.vote("dan")
    expect(run.is).toBe("open at 2")
    run.wait(day)
    run.forget()
    run.world.groups.set("g1", group("g1", "ann", "bob", "fay"))
    expect(run.edit("d2")).toBe("accepted")
    expect(run.is).toBe("open at 1")
    expect(run.state.levels.flatMap(({ seats }) => seats).filter(({ vote }) => vote)).toEqual([])
    expect(run.level().seats.map(({ key }) => key)).toEqual(["ann", "bob", "fay"])
    expect(run.level()).toMatchObject({ openings: 2, openedAt: start + day })
    expect(nextTimerAt(run.state)).toBe(start + 8 * day)
    expect(run.told("outdated")).toEqual(["ann", "bob", "dan"])
    expect(run.told("decide")).toEqual(["ann", "bob", "fay"])
    const [edited] = run.events("approval-request.edited")
    expect(edited).toMatchObject({ before: "d1", digest: "d2", revision: 2, kept: [] })
    expect(edited?.outdated.map(({ number, level: at }) => [number, at])).toEqual([
      [1, 1],
      [2, 1],
      [3, 2],
    ])
    expect(run.vote("ann", "approve", "d1")).toBe("content-changed")
    expect(run.vote("ann", "approve", "d2")).toBe("accepted")
  })

  test("V5: and back again revives no vote", () => {
    const run = new ApprovalRun(world(), levels)
    run.vote("ann")
    run.edit("d2")
    run.edit("d1")
    run.vote("bob")
    expect(run.is).toBe("open at 1")
    expect(run.level().seats.map(({ state }) => state)).toEqual(["waiting", "approved", "waiting"])
  })

  test("that changes nothing is none", () => {
    const run = new ApprovalRun(world(), levels)
    run.vote("ann")
    expect(run.edit("d1")).toBe("accepted")
    expect(run.state.revision).toBe(1)
    expect(run.seat("ann").state).toBe("approved")
  })

  test("overtakes the question, and starts the clocks", () => {
    const run = new ApprovalRun(world(), levels)
    run.ask("ann")
    run.edit("d2")
    expect(run.is).toBe("open at 1")
    expect(run.state.questions).toMatchObject([{ state: "overtaken" }])
  })

  test("is the requester's, or the sender's, alone", () => {
    const run = new ApprovalRun(world(), levels, { submit: { submitter: who("backend") } })
    const edit = { type: "edit", digest: "d2", before: {}, after: {} } as const
    expect(run.do({ ...edit, actor: who("ann") })).toBe("not-the-requester")
    expect(run.do({ ...edit, actor: who("backend") })).toBe("accepted")
    expect(run.edit("d3")).toBe("accepted")
  })

  test("V19: is bounded", () => {
    const run = new ApprovalRun(world(), levels)
    for (let n = 2; n <= 100; n++) expect(run.edit(`d${n}`)).toBe("accepted")
    expect(run.edit("d101")).toBe("limit-reached")
  })
})

describe("A14: an edit that keeps votes", () => {
  const keeping = { template: { keepVotesWhen: "size(after.targets) < size(before.targets)" } }
  const [wide, narrow] = [{ targets: ["a", "b"] }, { targets: ["a"] }]

  test("V5: leaves levels met, and reopens the one in hand with its votes", () => {
    const run = new ApprovalRun(world(), levels, keeping)
    run.vote("ann")
    run.vote("bob")
    run.vote("dan")
    run.forget()
    expect(run.edit("d2", wide, narrow)).toBe("accepted")
    expect(run.is).toBe("open at 2")
    expect(run.seat("ann", 1).vote).toMatchObject({ digest: "d1", boundTo: "d2" })
    expect(run.seat("dan").vote).toMatchObject({ digest: "d1", boundTo: "d2" })
    expect(run.told("decide")).toEqual(["eve"])
    expect(run.told("outdated")).toEqual([])
    const [edited] = run.events("approval-request.edited")
    expect(edited?.kept.map(({ number }) => number)).toEqual([1, 2, 3])
    run.vote("eve", "approve", "d2")
    expect(run.is).toBe("approved by votes")
  })

  test("V5: keeps no vote of a member who is not pinned again, and says so", () => {
    const run = new ApprovalRun(world(), levels, keeping)
    run.vote("ann")
    run.world.groups.set("g1", group("g1", "bob", "cleo"))
    run.forget()
    run.edit("d2", wide, narrow)
    expect(run.told("outdated")).toEqual([])
    expect(run.seat("bob").vote).toBeNull()
    run.vote("bob")
    run.world.groups.set("g1", group("g1", "ann", "cleo", "fay"))
    run.edit("d3", { targets: [1, 2] }, { targets: [1] })
    expect(run.level().seats.map(({ key, state }) => [key, state])).toEqual([
      ["ann", "waiting"],
      ["cleo", "waiting"],
      ["fay", "waiting"],
    ])
  })

  test("V5: keeps no vote of one who had joined by escalation, and tells them", () => {
    const escalation = { afterMilliseconds: day, group: "g2" }
    const run = new ApprovalRun(world(), [level({ strategy: quorum, escalation })], keeping)
    run.wait(day)
    run.vote("dan")
    run.forget()
    run.edit("d2", wide, narrow)
    expect(run.told("outdated")).toEqual(["dan"])
    expect(run.vote("dan")).toBe("not-a-member")
    expect(run.events("approval-request.edited")).toMatchObject([{ kept: [], outdated: [{ member: { key: "dan" } }] }])
  })

  test("V13: keeps no vote of one who is barred by now", () => {
    const run = new ApprovalRun(world(), [level({ strategy: quorum, sameTeam: "barred" })], keeping)
    run.vote("ann")
    run.world.groups.set("g1", group("g1", { ...who("ann", ["blue"]) }, "bob", "cleo"))
    run.edit("d2", wide, narrow)
    expect(run.seat("ann")).toMatchObject({ state: "barred", vote: null })
    expect(run.told("outdated")).toEqual(["ann"])
  })

  test("V5: of the wrong kind keeps none", () => {
    const run = new ApprovalRun(world(), levels, keeping)
    run.vote("ann")
    run.edit("d2", narrow, wide)
    expect(run.seat("ann").state).toBe("waiting")
    run.vote("ann")
    run.edit("d3", {}, {})
    expect(run.seat("ann").state).toBe("waiting")
  })

  test("V5: does not keep votes of a level after one that has to be met first", () => {
    const escalation = { afterMilliseconds: day, jump: true }
    const run = new ApprovalRun(world(), [level({ strategy: quorum, escalation }), ...levels.slice(1)], keeping)
    run.vote("ann")
    run.wait(day)
    run.vote("dan")
    run.forget()
    run.edit("d2", wide, narrow)
    expect(run.is).toBe("open at 1")
    expect(run.seat("ann").state).toBe("approved")
    expect(run.told("outdated")).toEqual(["dan"])
    const [edited] = run.events("approval-request.edited")
    expect(edited?.kept.map(({ number }) => number)).toEqual([1])
    run.vote("bob")
    expect(run.is).toBe("open at 2")
    expect(run.seat("dan").state).toBe("waiting")
  })
})

describe("cancel", () => {
  test("is the requester's, the sender's or an administrator's", () => {
    const run = new ApprovalRun(world(), levels)
    const cancel = { type: "cancel", actor: who("ann") } as const
    expect(run.do({ ...cancel, asAdministrator: false })).toBe("not-the-requester")
    expect(run.do({ ...cancel, asAdministrator: true, comment: "no longer" })).toBe("accepted")
    expect(run.is).toBe("cancelled by cancelled")
    expect(run.state.outcome).toMatchObject({ by: { key: "ann" }, comment: "no longer", result: "cancelled" })
    expect(run.level(1).state).toBe("stopped")
    expect(run.told("result")).toEqual(["req", "ann", "bob", "cleo"])
  })
})
