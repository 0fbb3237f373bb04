import { describe, expect, test } from "vitest"
import { ApprovalRun, day, group, level, member, requester, TestWorld, who } from "./approval-run.fixture.ts"
import { decide } from "./decide.ts"
import { listWaits } from "./list-waits.ts"

const two = [level(), level({ name: "two", group: "g2" })]

function twoLevels(): ApprovalRun {
  return new ApprovalRun(new TestWorld(group("g1", "ann", "bob"), group("g2", "cleo", "ann")), two)
}

describe("a vote", () => {
  test("A2, V4: goes level by level; the last one approves", () => {
    const run = twoLevels()
    expect(run.is).toBe("open at 1")
    expect(run.vote("ann")).toBe("accepted")
    expect(run.is).toBe("open at 2")
    expect(run.vote("cleo")).toBe("accepted")
    expect(run.is).toBe("approved by votes")
    expect(run.state.levels.map(({ state }) => state)).toEqual(["met", "met"])
    expect(run.state.outcome).toEqual({ result: "approved", reason: "votes", level: 2 })
    expect(run.effects.flatMap((effect) => (effect.type === "event" ? [effect.name] : []))).toEqual([
      "approval-request.submitted",
      "approval-request.matched",
      "approval-request.level-opened",
      "approval-request.voted",
      "approval-request.level-opened",
      "approval-request.voted",
      "approval-request.approved",
    ])
  })

  test("a denial at any level ends the request", () => {
    const run = new ApprovalRun(new TestWorld(group("g1", "ann"), group("g2", "cleo")), two)
    run.vote("ann")
    run.vote("cleo", "deny")
    expect(run.is).toBe("denied by unreachable")
    expect(run.state.levels.map(({ state }) => state)).toEqual(["met", "denied"])
  })

  test("A4, V2: each wrong voter has a code of its own", () => {
    const run = twoLevels()
    expect(run.vote("dan")).toBe("not-a-member")
    expect(run.vote("cleo")).toBe("level-not-open")
    run.vote("bob")
    expect(run.vote("bob")).toBe("level-closed")
    expect(run.vote("dan")).toBe("not-a-member")
    expect(run.vote("req")).toBe("self-approval")
    run.world.groups.set("g2", group("g2", "ann"))
    expect(run.vote("cleo")).toBe("member-removed")
    expect(run.vote("ann", "approve", "d0")).toBe("content-changed")
    expect(run.vote("ann")).toBe("accepted")
    expect(run.vote("ann")).toBe("request-ended")
  })

  test("V2: one who saw another level open is told so, however many levels they are at", () => {
    const run = twoLevels()
    const vote = { type: "vote", actor: who("ann"), choice: "approve", digest: "d1", via: "link" } as const
    expect(run.do({ ...vote, level: 2 })).toBe("level-not-open")
    expect(run.do({ ...vote, level: 1 })).toBe("accepted")
    expect(run.do({ ...vote, level: 1 })).toBe("level-closed")
    expect(run.do({ ...vote, level: 2 })).toBe("accepted")
  })

  test("V2: a level's members are those of when it opened", () => {
    const run = twoLevels()
    run.world.groups.set("g1", group("g1", "ann", "bob", "dan"))
    expect(run.vote("dan")).toBe("not-a-member")
    run.world.groups.set("g2", group("g2", "dan"))
    run.vote("bob")
    expect(run.vote("dan")).toBe("accepted")
    expect(run.is).toBe("approved by votes")
  })

  test("V9: may be changed while the level is open, and each one is on record", () => {
    const run = new ApprovalRun(new TestWorld(group("g1", "ann", "bob", "cleo")), [
      level({ strategy: { kind: "majority" } }),
    ])
    expect(run.vote("ann", "deny")).toBe("accepted")
    expect(run.vote("ann", "deny")).toBe("already-voted")
    expect(run.vote("ann", "approve")).toBe("accepted")
    expect(run.seat("ann").vote).toMatchObject({ number: 2, choice: "approve" })
    run.vote("bob", "abstain")
    expect(run.is).toBe("open at 1")
    run.vote("cleo")
    expect(run.is).toBe("approved by votes")
    const records = run.effects.flatMap((effect) => (effect.type === "vote" ? [effect.vote] : []))
    expect(records.map(({ number, member: { key }, choice, replaces }) => [number, key, choice, replaces])).toEqual([
      [1, "ann", "deny", null],
      [2, "ann", "approve", 1],
      [3, "bob", "abstain", null],
      [4, "cleo", "approve", null],
    ])
  })

  test("abstention is refused where the level wants an answer", () => {
    const run = new ApprovalRun(new TestWorld(group("g1", "ann")), [level({ abstention: false })])
    expect(run.vote("ann", "abstain")).toBe("abstention-refused")
    expect(run.is).toBe("open at 1")
  })

  test("V24: without the voter's signature only a denial counts, where the level wants it", () => {
    const run = new ApprovalRun(new TestWorld(group("g1", "ann", "bob")), [
      level({ signedVotes: "required", strategy: { kind: "all" } }),
    ])
    const vote = { type: "vote", actor: who("ann"), digest: "d1", via: "api" } as const
    expect(run.vote("ann")).toBe("signature-required")
    expect(run.do({ ...vote, choice: "abstain", isSigned: false })).toBe("signature-required")
    expect(run.do({ ...vote, actor: who("dan"), choice: "approve" })).toBe("not-a-member")
    expect(run.do({ ...vote, choice: "approve", isSigned: true })).toBe("accepted")
    expect(run.vote("bob", "deny")).toBe("accepted")
    expect(run.is).toBe("denied by unreachable")
  })

  test("records what was said, by whom, which way", () => {
    const run = twoLevels()
    const said = { choice: "approve", digest: "d1", via: "link", comment: "fine" } as const
    run.do({ type: "vote", actor: who("ann"), ...said })
    expect(run.effects.find(({ type }) => type === "vote")).toEqual({
      type: "vote",
      vote: {
        number: 1,
        level: 1,
        levelName: "one",
        member: { key: "ann", name: "ANN" },
        by: { key: "ann", name: "ANN" },
        ...said,
        revision: 1,
        at: run.world.now,
        replaces: null,
      },
    })
    expect(JSON.stringify(run.events("approval-request.voted"))).not.toContain("fine")
  })
})

describe("A16: whoever asks", () => {
  const admin = { ...who("admin"), keys: ["admin", "mailto:boss@example.com"] }
  const world = (): TestWorld =>
    new TestWorld(
      group("g1", "req", "admin", "ann", member("mailto:boss@example.com", { keys: ["mailto:boss@example.com"] })),
    )

  test("V13: can't approve, whether as requester, as sender, by mail, or in another's place", () => {
    const run = new ApprovalRun(world(), [level({ strategy: { kind: "quorum", count: 1 } })], {
      submit: { submitter: admin },
    })
    expect(run.level().seats.map(({ key, state, bar }) => [key, state, bar])).toEqual([
      ["req", "barred", "self-approval"],
      ["admin", "barred", "self-approval"],
      ["ann", "waiting", null],
      ["mailto:boss@example.com", "barred", "self-approval"],
    ])
    expect(run.vote("req")).toBe("self-approval")
    expect(run.vote(admin)).toBe("self-approval")
    expect(run.vote("admin")).toBe("self-approval")
    expect(run.vote({ ...who("mailto:boss@example.com") })).toBe("self-approval")
    run.world.delegations.set("ann", [{ to: who("req"), from: 0, until: Infinity }])
    expect(run.vote("req")).toBe("self-approval")
    expect(run.delegate("ann", "req")).toBe("self-approval")
    expect(run.told("decide")).toEqual(["ann"])
    expect(run.vote("ann")).toBe("accepted")
    expect(run.is).toBe("approved by votes")
  })

  test("V13: the seat of one who asks stays barred for whoever answers in that place", () => {
    const run = new ApprovalRun(new TestWorld(group("g1", "req", "ann")), [level()])
    run.world.delegations.set("req", [{ to: who("dan"), from: 0, until: Infinity }])
    expect(run.vote("dan")).toBe("self-approval")
  })

  test("V7: is denied at once where nobody else could approve", () => {
    const run = new ApprovalRun(new TestWorld(group("g1", "req")), [level()])
    expect(run.is).toBe("denied by unreachable")
    expect(run.told("decide")).toEqual([])
  })

  test("may approve where the level says so", () => {
    const run = new ApprovalRun(new TestWorld(group("g1", "req")), [level({ selfApproval: true, sameTeam: "barred" })])
    expect(run.vote(requester)).toBe("accepted")
    expect(run.is).toBe("approved by votes")
  })

  test("V13: of the same team, nobody answers where the level bars that, delegates neither", () => {
    const blue = member("blue", { teams: ["blue", "ops"] })
    const world = new TestWorld(group("g1", blue, "ann"))
    const run = new ApprovalRun(world, [level({ sameTeam: "barred" })])
    expect(run.seat("blue")).toMatchObject({ state: "barred", bar: "same-team" })
    expect(run.vote(blue)).toBe("same-team")
    // Joined the team after the level had opened.
    expect(run.vote(who("ann", ["blue"]))).toBe("same-team")
    expect(run.do({ type: "delegate", actor: who("ann"), to: who("dan", ["blue"]) })).toBe("same-team")
    expect(run.vote(who("dan", ["blue"]))).toBe("not-a-member")
    run.delegate("ann", "dan")
    expect(run.vote(who("dan", ["blue"]))).toBe("same-team")
    expect(run.vote(who("dan"))).toBe("accepted")
  })
})

test("V13: the sender's team is barred like the requester's", () => {
  const run = new ApprovalRun(
    new TestWorld(group("g1", member("red", { teams: ["red"] }), "ann")),
    [level({ sameTeam: "barred" })],
    { submit: { submitter: who("sender", ["red"]) } },
  )
  expect(run.vote(who("red", ["red"]))).toBe("same-team")
})

describe("members who leave", () => {
  const three = (): TestWorld => new TestWorld(group("g1", "ann", "bob", "cleo", "dan"))
  const quorum = level({ strategy: { kind: "quorum", count: 2 }, reject: { count: 2 } })

  test("V2: are refused, and their vote counts no more from the very next answer on", () => {
    const run = new ApprovalRun(three(), [quorum])
    run.vote("ann")
    run.vote("bob", "deny")
    run.world.groups.set("g1", group("g1", member("ann", { disabled: true }), "cleo", "dan"))
    expect(run.vote("ann", "deny")).toBe("member-removed")
    expect(run.vote("bob")).toBe("member-removed")
    expect(run.vote("cleo")).toBe("accepted")
    expect(run.is).toBe("open at 1")
    expect(run.level().seats.map(({ key, state, vote }) => [key, state, vote?.choice])).toEqual([
      ["ann", "removed", undefined],
      ["bob", "removed", undefined],
      ["cleo", "approved", "approve"],
      ["dan", "waiting", undefined],
    ])
    expect(run.vote("dan", "deny")).toBe("accepted")
    expect(run.is).toBe("denied by unreachable")
  })

  test("V7, V12: end a request that can't be approved any more, and never approve one", () => {
    const run = new ApprovalRun(three(), [level({ strategy: { kind: "all" } })])
    for (const key of ["ann", "bob", "cleo"]) run.vote(key)
    run.world.groups.set("g1", group("g1", "ann", "bob", "cleo"))
    expect(run.do({ type: "member-removed" })).toBe("accepted")
    expect(run.is).toBe("denied by unreachable")
  })

  test("V2: vote anew when they are back, and are told so", () => {
    const run = new ApprovalRun(three(), [quorum])
    run.vote("ann")
    run.world.groups.set("g1", group("g1", "bob", "cleo", "dan"))
    run.do({ type: "member-removed" })
    run.forget()
    run.world.groups.set("g1", group("g1", "ann", "bob", "cleo", "dan"))
    run.do({ type: "member-removed" })
    expect(run.seat("ann")).toMatchObject({ state: "waiting", vote: null })
    expect(run.told("decide")).toEqual(["ann"])
    run.vote("bob")
    expect(run.is).toBe("open at 1")
    expect(run.vote("ann")).toBe("accepted")
    expect(run.is).toBe("approved by votes")
  })
})

describe("A16: delegation", () => {
  const always = { from: 0, until: Infinity }
  const threeOf = (): ApprovalRun =>
    new ApprovalRun(new TestWorld(group("g1", "ann", "bob", "cleo")), [level({ strategy: { kind: "all" } })])

  test("for a time: the delegate answers in the member's place, then and no longer", () => {
    const world = new TestWorld(group("g1", "ann", "bob"))
    world.delegations.set("ann", [{ to: who("dan"), from: world.now, until: world.now + day }])
    const run = new ApprovalRun(world, [level({ strategy: { kind: "all" } })])
    expect(run.told("decide")).toEqual(["ann", "dan for ann", "bob"])
    expect(listWaits(run.state).who.map(({ person, seat }) => [person.key, seat])).toEqual([
      ["ann", "ann"],
      ["dan", "ann"],
      ["bob", "bob"],
    ])
    run.wait(day)
    expect(run.vote("dan")).toBe("not-a-member")
    run.world.delegations.set("ann", [{ to: who("dan"), ...always }])
    expect(run.vote("dan")).toBe("accepted")
    expect(run.seat("ann").vote).toMatchObject({ choice: "approve", by: { key: "dan" } })
  })

  test("V9: one action answers for all own seats", () => {
    const run = threeOf()
    run.world.delegations.set("ann", [{ to: who("bob"), ...always }])
    run.world.delegations.set("cleo", [{ to: who("bob"), ...always }])
    expect(run.vote("bob")).toBe("accepted")
    expect(run.is).toBe("approved by votes")
    expect(run.state.votesCount).toBe(3)
  })

  test("V14: of several that hold at once, the one that began last does", () => {
    const run = threeOf()
    const began = (key: string, from: number) => ({ to: who(key), from, until: Infinity })
    run.world.delegations.set("ann", [began("dan", 1), began("eve", 3), began("fay", 2)])
    expect(run.vote("dan")).toBe("not-a-member")
    expect(run.vote("fay")).toBe("not-a-member")
    expect(run.vote("eve")).toBe("accepted")
  })

  test("V14: is followed once: a delegate's delegate has the delegate's own seat only", () => {
    const run = threeOf()
    run.world.delegations.set("ann", [{ to: who("bob"), ...always }])
    run.world.delegations.set("bob", [{ to: who("dan"), ...always }])
    expect(run.vote("dan")).toBe("accepted")
    expect(run.level().seats.map(({ state }) => state)).toEqual(["waiting", "approved", "waiting"])
  })

  test("V14: a member's own word stands over the delegate's", () => {
    const run = threeOf()
    expect(run.delegate("ann", "dan")).toBe("accepted")
    expect(run.vote("dan", "abstain")).toBe("accepted")
    expect(run.vote("ann")).toBe("accepted")
    expect(run.vote("dan", "deny")).toBe("member-has-voted")
    expect(run.seat("ann").state).toBe("approved")
  })

  test("V14: a member may make the delegate's word the own one", () => {
    const run = threeOf()
    run.delegate("ann", "dan")
    run.vote("dan")
    expect(run.vote("ann")).toBe("accepted")
    expect(run.vote("dan", "deny")).toBe("member-has-voted")
  })

  test("for this request: told, taken back, refused to the wrong ones", () => {
    const run = threeOf()
    run.forget()
    expect(run.delegate("ann", "ann")).toBe("delegate-refused")
    expect(run.delegate("dan", "eve")).toBe("not-a-member")
    expect(run.delegate("ann", "dan")).toBe("accepted")
    expect(run.told("decide")).toEqual(["dan for ann"])
    expect(run.events("approval-request.delegated")).toMatchObject([{ member: { key: "ann" }, to: { key: "dan" } }])
    expect(run.delegate("dan", "eve")).toBe("delegate-refused")
    expect(run.delegate("ann", null)).toBe("accepted")
    expect(run.vote("dan")).toBe("not-a-member")
  })

  test("an absence marks the seat, and changes nothing else", () => {
    const world = new TestWorld(group("g1", "ann", "bob"))
    world.delegations.set("ann", [{ to: null, ...always }])
    const run = new ApprovalRun(world, [level({ strategy: { kind: "all" } })])
    expect(run.seat("ann")).toMatchObject({ absent: true, state: "waiting", delegate: null })
    expect(run.told("decide")).toEqual(["ann", "bob"])
    run.vote("bob")
    expect(run.is).toBe("open at 1")
    expect(run.vote("ann")).toBe("accepted")
    expect(run.is).toBe("approved by votes")
  })
})

describe("questions", () => {
  test("A9: go to the requester, and the answer to the level", () => {
    const run = new ApprovalRun(new TestWorld(group("g1", "ann", "bob")), [level()])
    run.forget()
    expect(run.ask("ann")).toBe("accepted")
    expect(run.is).toBe("asking at 1")
    expect(run.told("question")).toEqual(["req"])
    expect(run.ask("bob")).toBe("question-open")
    expect(run.do({ type: "answer", actor: who("ann"), text: "so" })).toBe("not-the-requester")
    expect(run.answer()).toBe("accepted")
    expect(run.told("answer")).toEqual(["ann", "bob"])
    expect(run.state.questions).toMatchObject([
      { number: 1, state: "answered", by: { key: "ann" }, text: "why?", answer: { text: "because" } },
    ])
    expect(run.answer()).toBe("no-question")
  })

  test("votes count meanwhile, and may end what was asked about", () => {
    const run = twoLevels()
    run.ask("ann")
    expect(run.vote("bob")).toBe("accepted")
    expect(run.is).toBe("open at 2")
    expect(run.state.questions).toMatchObject([{ state: "overtaken" }])
    expect(run.answer()).toBe("no-question")
  })

  test("V19: are bounded", () => {
    const run = new ApprovalRun(new TestWorld(group("g1", "ann")), [level()])
    for (let turn = 0; turn < 20; turn++) {
      expect(run.ask("ann")).toBe("accepted")
      expect(run.answer()).toBe("accepted")
    }
    expect(run.ask("ann")).toBe("limit-reached")
  })
})

describe("V19: what grows is bounded", () => {
  test("votes, by seat, so that nobody uses up what others need", () => {
    const run = new ApprovalRun(new TestWorld(group("g1", "ann", "bob", "cleo")), [
      level({ strategy: { kind: "quorum", count: 2 } }),
    ])
    for (let turn = 0; turn < 100; turn++) {
      expect(run.vote("ann", turn % 2 === 0 ? "abstain" : "approve")).toBe("accepted")
    }
    expect(run.vote("ann", "abstain")).toBe("limit-reached")
    expect(run.vote("bob")).toBe("accepted")
    expect(run.is).toBe("approved by votes")
  })

  test("delegations for one request", () => {
    const keys = Array.from({ length: 201 }, (_, n) => `m${n}`)
    const run = new ApprovalRun(new TestWorld(group("g1", ...keys)), [level()])
    for (const key of keys.slice(0, 200)) expect(run.delegate(key, "dan")).toBe("accepted")
    expect(run.delegate("m0", "eve")).toBe("accepted")
    expect(run.delegate("m200", "dan")).toBe("limit-reached")
  })
})

test("V20: a decision changes nothing it was given", () => {
  const run = twoLevels()
  const before = JSON.stringify(run.state)
  const vote = { type: "vote", actor: who("ann"), choice: "approve", digest: "d1", via: "api" } as const
  const [one, other] = [decide(run.state, vote, run.world), decide(JSON.parse(before), vote, run.world)]
  expect(one).toEqual(other)
  expect(JSON.stringify(run.state)).toBe(before)
})
