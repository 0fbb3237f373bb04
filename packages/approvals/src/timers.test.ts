import { describe, expect, test } from "vitest"
import { ApprovalRun, day, group, hour, level, member, start, TestWorld } from "./approval-run.fixture.ts"
import { nextTimerAt } from "./next-timer-at.ts"
import type { LevelRule } from "./template-rules.ts"

const world = (): TestWorld => new TestWorld(group("g1", "ann", "bob"), group("g2", "cleo"), group("boss", "dan"))

function begin(more: Partial<LevelRule>, ...rest: readonly LevelRule[]): ApprovalRun {
  return new ApprovalRun(world(), [level({ expiresAfterMilliseconds: 2 * day, ...more }), ...rest])
}

const second = level({ name: "two", group: "g2", preNotice: false })

describe("A10: expiry", () => {
  test("V18: denies by default, at its time and not before", () => {
    const run = begin({})
    expect(nextTimerAt(run.state)).toBe(start + 2 * day)
    run.wait(2 * day - 1)
    expect(run.is).toBe("open at 1")
    run.wait(1)
    expect(run.is).toBe("expired by timeout")
    expect(run.state.outcome).toEqual({ result: "denied", reason: "timeout", level: 1 })
    expect(nextTimerAt(run.state)).toBeNull()
    expect(run.told("result")).toEqual(["req", "ann", "bob"])
  })

  test("V18: goes before all else that is due with it", () => {
    const twoDays = { everyMilliseconds: 2 * day }
    const run = begin({ reminders: twoDays, escalation: { afterMilliseconds: 2 * day, group: "boss" } })
    run.wait(2 * day)
    expect(run.is).toBe("expired by timeout")
    expect(run.events("approval-request.escalated")).toEqual([])
    expect(run.events("approval-request.reminded")).toEqual([])
  })

  test("approves where the template says so, the whole request", () => {
    const run = new ApprovalRun(world(), [level(), second], { template: { onExpiry: "approve" } })
    run.wait(7 * day)
    expect(run.is).toBe("approved by timeout")
    expect(run.state.levels.map(({ state }) => state)).toEqual(["expired", "waiting"])
    expect(run.events("approval-request.approved")).toMatchObject([{ reason: "timeout", level: 1 }])
  })

  test("V1: a vote after the time is refused, though nobody has looked at the timer", () => {
    const run = begin({})
    run.world.now += 2 * day
    expect(run.vote("ann")).toBe("request-ended")
    expect(run.is).toBe("open at 1")
    expect(run.do({ type: "timer" })).toBe("accepted")
    expect(run.is).toBe("expired by timeout")
  })

  test("of a request that nothing matched", () => {
    const run = new ApprovalRun(world(), null)
    expect(nextTimerAt(run.state)).toBe(start + 30 * day)
    run.wait(30 * day)
    expect(run.is).toBe("expired by timeout")
  })

  test("the next level has its own time, from when it opens", () => {
    const run = begin({}, second)
    run.wait(day)
    run.vote("ann")
    expect(nextTimerAt(run.state)).toBe(start + 8 * day)
  })
})

describe("A10: reminders", () => {
  const reminders = { everyMilliseconds: 6 * hour, max: 3 }

  test("go to those whose vote is missing, so often and no more", () => {
    const run = begin({ reminders, strategy: { kind: "all" } })
    run.vote("bob")
    for (let turn = 0; turn < 7; turn++) run.wait(6 * hour)
    expect(run.told("reminder")).toEqual(["ann", "ann", "ann"])
    expect(run.events("approval-request.reminded")).toHaveLength(3)
    expect(nextTimerAt(run.state)).toBe(start + 2 * day)
  })

  test("V18: one where several were missed, and the rhythm stays", () => {
    const run = begin({ reminders })
    run.wait(15 * hour)
    expect(run.told("reminder")).toEqual(["ann", "bob"])
    expect(nextTimerAt(run.state)).toBe(start + 18 * hour)
  })
})

describe("A10: escalation", () => {
  const escalation = { afterMilliseconds: day, group: "boss" }

  test("V11: adds its group to the level, once, and tells everyone", () => {
    const run = begin({ escalation, strategy: { kind: "quorum", count: 2 } })
    run.vote("ann")
    run.forget()
    run.wait(day)
    expect(run.level().seats.map(({ key, state, escalation: joined }) => [key, state, joined])).toEqual([
      ["ann", "approved", false],
      ["bob", "waiting", false],
      ["dan", "waiting", true],
    ])
    expect(run.told("decide")).toEqual(["dan"])
    expect(run.told("escalation")).toEqual(["req", "ann", "bob"])
    expect(run.events("approval-request.escalated")).toMatchObject([{ added: [{ key: "dan" }], jumped: false }])
    run.wait(hour)
    expect(run.events("approval-request.escalated")).toHaveLength(1)
    expect(nextTimerAt(run.state)).toBe(start + 2 * day)
    run.vote("dan")
    expect(run.is).toBe("approved by votes")
  })

  test("V11: a member of both groups has one seat, with the larger weight and the vote that stands", () => {
    const run = begin({ escalation, strategy: { kind: "quorum", count: 3 } })
    run.world.groups.set("boss", group("boss", member("ann", { weight: 3, veto: true }), "dan"))
    run.vote("ann")
    run.wait(day)
    expect(run.level().seats).toHaveLength(3)
    expect(run.is).toBe("approved by votes")
  })

  test("V7: while it has not fired, its group counts for what can be reached", () => {
    const run = begin({ escalation })
    run.vote("ann", "deny")
    run.vote("bob", "deny")
    expect(run.is).toBe("open at 1")
    run.wait(day)
    run.vote("dan", "deny")
    expect(run.is).toBe("denied by unreachable")
  })

  test("V7: once it has fired, who joins its group later counts for nothing", () => {
    const run = begin({ escalation })
    run.wait(day)
    run.world.groups.set("boss", group("boss", "dan", "eve"))
    for (const key of ["ann", "bob", "dan"]) run.vote(key, "deny")
    expect(run.is).toBe("denied by unreachable")
  })

  test("jumps to the next level without denying this one, where the template says so", () => {
    const run = begin({ escalation: { afterMilliseconds: day, jump: true } }, second)
    run.wait(day)
    expect(run.is).toBe("open at 2")
    expect(run.state.levels.map(({ state }) => state)).toEqual(["passed", "open"])
    expect(run.told("decide").slice(-1)).toEqual(["cleo"])
    expect(run.vote("ann")).toBe("level-closed")
    run.vote("cleo")
    expect(run.is).toBe("approved by votes")
  })

  test("never jumps past the last level: there its group joins", () => {
    const run = begin({ escalation: { ...escalation, jump: true } })
    run.wait(day)
    expect(run.is).toBe("open at 1")
    expect(run.seat("dan").state).toBe("waiting")
  })

  test("without a group tells everyone once more", () => {
    const run = begin({ escalation: { afterMilliseconds: day } })
    run.wait(day)
    expect(run.told("escalation")).toEqual(["req", "ann", "bob"])
    expect(run.level().escalated).toBe(true)
  })

  test("V18: of a server that comes late, everything happens in its order", () => {
    const run = begin({ escalation: { afterMilliseconds: day, jump: true } }, second)
    run.wait(20 * day)
    // The next level opens now, so its members have all of their time.
    expect(run.is).toBe("open at 2")
    expect(nextTimerAt(run.state)).toBe(start + 27 * day)
    const added = begin({ escalation })
    added.wait(20 * day)
    expect(added.is).toBe("expired by timeout")
    expect(added.told("escalation")).toEqual([])
    expect(added.told("decide")).toEqual(["ann", "bob"])
  })
})

describe("A9: while a question is open", () => {
  const rule = { escalation: { afterMilliseconds: day, group: "boss" }, reminders: { everyMilliseconds: 6 * hour } }

  test("V6: the level's clocks stand still", () => {
    const run = begin(rule)
    run.wait(5 * hour)
    run.ask("ann")
    run.wait(3 * day)
    expect(run.is).toBe("asking at 1")
    expect(run.told("reminder")).toEqual([])
    run.answer()
    expect(run.level().timers).toEqual({
      expiresAt: start + 5 * day,
      escalatesAt: start + 4 * day,
      remindsAt: start + 3 * day + 6 * hour,
    })
    run.wait(hour)
    expect(run.told("reminder")).toEqual(["ann", "bob"])
  })

  test("V6: a clock that was set back takes no time away", () => {
    const run = begin(rule)
    run.wait(5 * hour)
    run.ask("ann")
    run.world.now -= 2 * hour
    run.answer()
    expect(run.level().timers?.expiresAt).toBe(start + 2 * day)
  })

  test("V6, V18: it lapses after seven days, from when the clocks go on, however late that is seen", () => {
    const run = begin(rule)
    run.wait(5 * hour)
    run.ask("ann")
    expect(nextTimerAt(run.state)).toBe(start + 7 * day + 5 * hour)
    run.wait(7 * day + 2 * hour)
    expect(run.state.questions).toMatchObject([{ state: "lapsed" }])
    expect(run.level().timers?.expiresAt).toBe(start + 9 * day)
    expect(run.told("reminder")).toEqual(["ann", "bob"])
    expect(run.answer()).toBe("no-question")
    expect(run.events("approval-request.answered")).toMatchObject([{ question: 1 }])
  })
})

test("V18: before its time a timer does nothing", () => {
  const run = begin({ reminders: { everyMilliseconds: hour } })
  const before = run.state
  run.forget()
  expect(run.wait(hour - 1)).toBe("accepted")
  expect(run.do({ type: "member-removed" })).toBe("accepted")
  expect(run.state).toBe(before)
  expect(run.effects).toEqual([])
})
