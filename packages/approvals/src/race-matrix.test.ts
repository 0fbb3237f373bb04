import { expect, test } from "vitest"
import { ApprovalRun, day, group, level, TestWorld } from "./approval-run.fixture.ts"
import type { VoteChoice } from "./types.ts"

/**
 * What each of two gets where both act at once: whichever is stored first, the other is decided on what is then. Pairs in
 * both orders, in each state that is not terminal; then everything falls silent, and the request ends.
 */

const boss = { afterMilliseconds: 2 * day, group: "boss" }
const jump = { afterMilliseconds: 2 * day, jump: true }
const quorum = { kind: "quorum", count: 2 } as const

function begin(escalation: typeof boss | typeof jump, then?: (run: ApprovalRun) => void): ApprovalRun {
  const world = new TestWorld(group("g1", "ann", "bob", "cleo"), group("g2", "ann", "eve"), group("boss", "dan"))
  const levels = [
    level({ strategy: quorum, escalation }),
    level({ name: "two", group: "g2", strategy: { kind: "any" } }),
  ]
  const run = new ApprovalRun(world, levels)
  then?.(run)
  return run
}

const states: Readonly<Record<string, () => ApprovalRun>> = {
  unmatched: () => new ApprovalRun(new TestWorld(group("g1", "ann", "bob")), null),
  "open at 1": () => begin(boss),
  "open at 1, one vote short": () => begin(boss, (run) => run.vote("bob")),
  "open at 1, to jump": () => begin(jump),
  "asking at 1": () => begin(boss, (run) => run.ask("cleo")),
  "open at 2": () =>
    begin(boss, (run) => {
      run.vote("bob")
      run.vote("cleo")
    }),
}

/** What both have seen before either acts. */
interface Seen {
  readonly digest: string
  readonly level: number
}

const ann = { key: "ann", keys: ["ann"], teams: [] }
const bob = { key: "bob", keys: ["bob"], teams: [] }

const vote =
  (actor: typeof ann, choice: VoteChoice) =>
  (run: ApprovalRun, seen: Seen): string =>
    run.do({ type: "vote", actor, choice, via: "api", ...seen })

const acts: Readonly<Record<string, (run: ApprovalRun, seen: Seen) => string>> = {
  approve: vote(ann, "approve"),
  deny: vote(ann, "deny"),
  "bob abstains": vote(bob, "abstain"),
  ask: (run, seen) => run.do({ type: "ask", actor: ann, text: "?", ...seen }),
  answer: (run) => run.answer(),
  edit: (run) => run.edit("d2"),
  expire: (run) => run.wait(8 * day),
  escalate: (run) => run.wait(2 * day),
  cancel: (run) => run.cancel(),
  delegate: (run) => run.delegate("ann", "fay"),
  "remove ann": (run) => {
    for (const name of ["g1", "g2"]) {
      const found = run.world.groups.get(name)
      if (found) run.world.groups.set(name, { name, members: found.members.filter(({ key }) => key !== "ann") })
    }
    return run.do({ type: "member-removed" })
  },
}

function rowsOf(make: () => ApprovalRun): string[] {
  const rows: string[] = []
  for (const [first, one] of Object.entries(acts)) {
    for (const [second, other] of Object.entries(acts)) {
      if (first === second) continue
      const run = make()
      const seen = { digest: run.state.digest, level: run.state.level }
      const gotFirst = `${first}: ${one(run, seen)}`
      const between = run.is
      const gotSecond = `${second}: ${other(run, seen)}`
      rows.push(`${gotFirst.padEnd(30)} ${between.padEnd(26)} ${gotSecond.padEnd(30)} ${run.is}`)
      checkLegal(run)
      settle(run)
      const ended = JSON.stringify(run.state)
      for (const act of [one, other]) expect(act(run, seen)).toBe("request-ended")
      expect(JSON.stringify(run.state)).toBe(ended)
    }
  }
  return rows
}

/** Every pair leaves a state that the machines know, with a timer where something is waited for. */
function checkLegal(run: ApprovalRun): void {
  const { state, level: number, levels, outcome } = run.state
  const open = levels.filter((each) => each.state === "open")
  expect(open).toHaveLength(state === "open" || state === "asking" ? 1 : 0)
  if (open[0]) expect(levels.indexOf(open[0])).toBe(number - 1)
  expect(outcome === null).toBe(["unmatched", "open", "asking"].includes(state))
}

function settle(run: ApprovalRun): void {
  for (let turns = 0; run.state.outcome === null; turns++) {
    expect(turns).toBeLessThan(20)
    run.wait(31 * day)
  }
}

test("V1, V20: each pair of acts, in both orders, in each state: what each gets, and what comes of it", async () => {
  const pairsCount = Object.keys(acts).length * (Object.keys(acts).length - 1)
  const parts = Object.entries(states).map(([state, make]) => {
    const rows = rowsOf(make)
    expect(rows).toHaveLength(pairsCount)
    return [`== ${state}`, ...rows, ""].join("\n")
  })
  await expect(parts.join("\n")).toMatchFileSnapshot("race-matrix.txt")
})
