import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { ApprovalRun, group, level, member, TestWorld } from "./approval-run.fixture.ts"
import { countVotes, type Count } from "./count-votes.ts"
import { completionsOf, isApprovedBy, type Ballot } from "./naive-count.fixture.ts"
import { joinSeats } from "./seats.ts"
import type { LevelRule, VotingStrategy } from "./template-rules.ts"
import type { Seat, SeatStateName } from "./types.ts"

const choices = { approved: "approve", denied: "deny", abstained: "abstain" } as const

function seat(key: string, state: SeatStateName, more: Partial<Seat> = {}): Seat {
  const number = Number(key.slice(1)) + 1
  const cast = { number, digest: "d", boundTo: "d", by: { key }, via: "api", at: 0 } as const
  const isVote = state === "approved" || state === "denied" || state === "abstained"
  return {
    key,
    state,
    bar: state === "barred" ? "self-approval" : null,
    groups: ["g"],
    weight: 1,
    veto: false,
    absent: false,
    delegate: null,
    escalation: false,
    votesCount: isVote ? 1 : 0,
    vote: isVote ? { ...cast, choice: choices[state] } : null,
    ...more,
  }
}

const letters = { a: "approved", d: "denied", o: "abstained", ".": "waiting", x: "removed", b: "barred" } as const

/** "aad." is four seats: two approved, one denied, one waiting. A digit before the letter is its weight, "!" marks a veto. */
function seats(text: string): Seat[] {
  return [...text.matchAll(/(\d*)(!?)([adoxb.])/g)].map(([, weight, veto, letter], index) =>
    seat(`s${index}`, letters[letter as keyof typeof letters], {
      weight: weight ? Number(weight) : 1,
      veto: veto === "!",
    }),
  )
}

function verdict(count: Count): string {
  return count.state === "denied" ? `denied: ${count.reason}` : count.state
}

const all = { kind: "all" } as const
const any = { kind: "any" } as const
const first = { kind: "first-response" } as const
const majority = { kind: "majority" } as const
const quorum = (count: number): VotingStrategy => ({ kind: "quorum", count })
const percentage = (percent: number): VotingStrategy => ({ kind: "percentage", percent })

describe("A3: where a level stands", () => {
  test.each<[VotingStrategy, string, string]>([
    [first, "...", "open"],
    [first, "a..", "met"],
    [first, ".d.", "denied: votes"],
    [first, "o..", "open"],
    [first, "ooo", "denied: unreachable"],
    [any, "dd.", "open"],
    [any, "dda", "met"],
    [any, "ddd", "denied: unreachable"],
    [any, "ddo", "denied: unreachable"],
    [all, "aa.", "open"],
    [all, "aaa", "met"],
    [all, "aao", "met"],
    [all, "ooo", "denied: unreachable"],
    [all, "ad.", "denied: unreachable"],
    [all, "aab", "met"],
    [quorum(2), "a...", "open"],
    [quorum(2), "aa..", "met"],
    [quorum(2), "dd..", "open"],
    [quorum(2), "ddd.", "denied: unreachable"],
    [quorum(3), "2a.d", "open"],
    [quorum(3), "2aad", "met"],
    [quorum(2), "bbb.", "denied: unreachable"],
    [percentage(50), "a...", "open"],
    [percentage(50), "aa..", "met"],
    [percentage(50), "a..", "open"],
    [percentage(34), "a..", "open"],
    [percentage(33.333), "a..", "met"],
    [percentage(100), "aa.", "open"],
    [percentage(1), "....", "open"],
    [percentage(1), "a...", "met"],
    [percentage(50), "aoo.", "met"],
    [percentage(60), "3a2d", "met"],
    [percentage(61), "3a2d", "denied: unreachable"],
    [majority, "aa..", "open"],
    [majority, "aa.", "met"],
    [majority, "dd..", "denied: unreachable"],
    [majority, "d...", "open"],
    [majority, "aado", "met"],
    [majority, "5a.....", "open"],
    [majority, "6a.....", "met"],
  ])("%o of %s: %s", (strategy, text, expected) => {
    expect(verdict(countVotes(level({ strategy }), seats(text)))).toBe(expected)
  })

  test.each<[Partial<LevelRule>, string, string]>([
    [{ reject: { count: 2 } }, "d...", "open"],
    [{ reject: { count: 2 } }, "dd..", "denied: votes"],
    [{ reject: { count: 2 } }, "2d...", "denied: votes"],
    [{ reject: { percent: 50 } }, "d...", "open"],
    [{ reject: { percent: 50 } }, "d.oo", "denied: votes"],
    [{ reject: { percent: 51 } }, "dd..", "open"],
    [{ veto: "none" }, "!d..", "open"],
    [{ veto: "marked" }, "!d..", "denied: veto"],
    [{ veto: "marked" }, "d!..", "open"],
    [{ veto: "any" }, "d..", "denied: veto"],
    [{ veto: "any", reject: { count: 1 } }, "d..", "denied: veto"],
  ])("any one, with %o, of %s: %s", (more, text, expected) => {
    expect(verdict(countVotes(level({ strategy: any, ...more }), seats(text)))).toBe(expected)
  })

  test("V2, V12: a removed seat votes no more, and stays in the base", () => {
    expect(verdict(countVotes(level({ strategy: all }), seats("aax")))).toBe("denied: unreachable")
    expect(verdict(countVotes(level({ strategy: majority }), seats("aaxx")))).toBe("denied: unreachable")
    expect(verdict(countVotes(level({ strategy: percentage(50) }), seats("aaxx")))).toBe("met")
    expect(verdict(countVotes(level({ strategy: quorum(2) }), seats("aax")))).toBe("met")
    expect(verdict(countVotes(level({ strategy: any }), seats("xxx")))).toBe("denied: unreachable")
  })

  test("V7, D25: what an escalation would add counts for what can be reached, until it has fired", () => {
    const rule = level({ strategy: quorum(2) })
    const now = seats("ddd.")
    const later = joinSeats(now, [seat("s8", "waiting")])
    expect(verdict(countVotes(rule, now))).toBe("denied: unreachable")
    expect(verdict(countVotes(rule, now, later))).toBe("open")
    expect(verdict(countVotes(rule, seats("dddd"), later))).toBe("open")
    const one = joinSeats(seats("dddd"), [seat("s8", "barred"), seat("s9", "waiting")])
    expect(verdict(countVotes(rule, seats("dddd"), one))).toBe("denied: unreachable")
  })

  test("says how much is missing, by weight where weights count", () => {
    expect(countVotes(level({ strategy: quorum(5), reject: { count: 4 } }), seats("2a3do4."))).toEqual({
      state: "open",
      approvals: 2,
      denials: 3,
      abstentions: 1,
      waiting: 4,
      approvalsNeeded: 3,
      denialsNeeded: 1,
    })
    expect(countVotes(level({ strategy: all }), seats("2a3.o"))).toMatchObject({ approvals: 1, approvalsNeeded: 1 })
    expect(countVotes(level({ strategy: majority }), seats("2a3.o"))).toMatchObject({
      approvals: 2,
      approvalsNeeded: 1,
    })
  })
})

const strategies: fc.Arbitrary<VotingStrategy> = fc.oneof(
  fc.constantFrom<VotingStrategy>(any, all, majority),
  fc.integer({ min: 1, max: 9 }).map(quorum),
  fc.integer({ min: 1, max: 100_000 }).map((thousandths) => percentage(thousandths / 1000)),
  fc.constantFrom(10, 25, 33.333, 34, 50, 66.667, 75, 100).map(percentage),
)

const rules = fc
  .record({
    strategy: fc.oneof(strategies, fc.constant<VotingStrategy>(first)),
    abstention: fc.boolean(),
    veto: fc.constantFrom("none", "marked", "any"),
    reject: fc.oneof(
      { weight: 3, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.record({ count: fc.integer({ min: 1, max: 6 }) }) },
      { weight: 1, arbitrary: fc.record({ percent: fc.constantFrom(1, 33.333, 50, 100) }) },
    ),
  })
  .map(({ reject, ...rest }) => level({ ...rest, ...(reject && { reject }) }))

const states: readonly SeatStateName[] = [
  "waiting",
  "waiting",
  "waiting",
  "approved",
  "denied",
  "abstained",
  "barred",
  "removed",
]
const someSeats = (min: number, max: number): fc.Arbitrary<Seat[]> =>
  fc
    .array(
      fc.record({
        state: fc.constantFrom(...states),
        weight: fc.oneof({ weight: 2, arbitrary: fc.constant(1) }, fc.integer({ min: 1, max: 4 })),
        veto: fc.boolean(),
      }),
      { minLength: min, maxLength: max },
    )
    .map((made) => made.map(({ state, ...more }, index) => seat(`s${index}`, state, more)))

function ballotsOf(made: readonly Seat[]): Ballot[] {
  return made
    .filter(({ state }) => state !== "barred")
    .map(({ state, weight, vote }) => ({ weight, choice: vote?.choice ?? null, isGone: state === "removed" }))
}

describe("against a count by brute force", () => {
  test("V7: unreachable if, and only if, no completion of the missing votes approves", () => {
    const property = fc.property(rules, someSeats(0, 6), fc.option(someSeats(0, 3)), (rule, now, more) => {
      const added = more?.map((each, index) => ({ ...each, key: `e${index}`, vote: null, state: addedState(each) }))
      const after = added && joinSeats(now, added)
      const count = countVotes(rule, now, after)
      if (count.state === "denied" && count.reason !== "unreachable") return
      const isMet = isApprovedBy(rule, ballotsOf(now))
      const isReachable = [now, ...(after ? [after] : [])].some((each) =>
        completionsOf(rule, ballotsOf(each)).some((ballots) => isApprovedBy(rule, ballots)),
      )
      expect(count.state).toBe(isMet ? "met" : isReachable ? "open" : "denied")
    })
    fc.assert(property, { numRuns: 3000 })
  })

  test("V8: denied by votes or veto only where somebody said no", () => {
    const property = fc.property(rules, someSeats(0, 6), (rule, now) => {
      const count = countVotes(rule, now)
      if (count.state !== "denied" || count.reason === "unreachable") return
      const denials = now.filter(({ state }) => state === "denied")
      expect(denials.length).toBeGreaterThan(0)
      if (count.reason === "veto") expect(denials.some(({ veto }) => veto || rule.veto === "any")).toBe(true)
    })
    fc.assert(property, { numRuns: 2000 })
  })

  test("V10: an approval never makes it worse", () => {
    const rank = { denied: 0, open: 1, met: 2 } as const
    const property = fc.property(rules, someSeats(1, 6), fc.nat(), (rule, now, nth) => {
      const index = nth % now.length
      const before = now[index]
      if (!before || before.state === "barred" || before.state === "removed") return
      // A vote that is given later has a larger number; a changed one too.
      const approved = { ...seat("s50", "approved"), key: before.key, weight: before.weight, veto: before.veto }
      const after = now.with(index, approved)
      const [was, is] = [countVotes(rule, now), countVotes(rule, after)]
      // The first word stands in `first-response`, so the level was over; changing that word is another matter.
      if (rule.strategy.kind === "first-response" && was.state !== "open") return
      expect(rank[is.state]).toBeGreaterThanOrEqual(rank[was.state])
    })
    fc.assert(property, { numRuns: 3000 })
  })
})

function addedState({ state }: Seat): SeatStateName {
  return state === "barred" ? "barred" : "waiting"
}

describe("V8: the order of votes in one level", () => {
  const votes = fc.array(fc.constantFrom("approve", "deny", "abstain"), { minLength: 1, maxLength: 5 })

  test("does not change the result where neither first response, veto nor rejection rule decides", () => {
    const property = fc.property(
      strategies,
      votes,
      fc.array(fc.nat(), { minLength: 5, maxLength: 5 }),
      (strategy, said, shuffle) => {
        const order = said.map((_, index) => index).toSorted((a, b) => (shuffle[a] ?? 0) - (shuffle[b] ?? 0))
        expect(resultOf(strategy, said, order)).toBe(resultOf(strategy, said, [...said.keys()]))
      },
    )
    fc.assert(property, { numRuns: 600 })
  })

  test("does with first response", () => {
    expect(resultOf(first, ["approve", "deny"], [0, 1])).toBe("approved by votes")
    expect(resultOf(first, ["approve", "deny"], [1, 0])).toBe("denied by votes")
  })
})

function resultOf(
  strategy: VotingStrategy,
  said: ReadonlyArray<"approve" | "deny" | "abstain">,
  order: readonly number[],
): string {
  const members = said.map((_, index) => member(`m${index}`, { weight: 1 + (index % 3) }))
  const run = new ApprovalRun(new TestWorld(group("g1", ...members)), [level({ strategy })])
  for (const index of order) run.vote(`m${index}`, said[index])
  return run.is
}
