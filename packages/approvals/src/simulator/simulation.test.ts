import { describe, expect, test } from "vitest"
import { simulate, type SimulationReport } from "./simulation.fixture.ts"

declare const process: {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stdout: { write(text: string): void }
}

/** `SIM_SEED=7 npx vitest run packages/approvals/src/simulator/simulation.test.ts` repeats one request with its trace. */
const seedGiven = process.env["SIM_SEED"]
/** `SIM_SCHEDULES=100000` runs more of them, `SIM_FROM` begins elsewhere. */
const schedulesCount = Number(process.env["SIM_SCHEDULES"] ?? 3000)
const firstSeed = Number(process.env["SIM_FROM"] ?? 1)

/** A request takes some milliseconds; a machine that does much else may need a hundred. */
const timeoutMilliseconds = 60_000 + 100 * schedulesCount

function explain({ seed, failure, trace }: SimulationReport): string {
  return [
    `seed ${seed}: ${failure?.message ?? "no failure"}`,
    `repeat it: SIM_SEED=${seed} npx vitest run packages/approvals/src/simulator/simulation.test.ts`,
    ...trace,
  ].join("\n")
}

/** A simulator that no longer reaches the rare ends proves nothing. */
const rareEnds = [
  "approved by votes",
  "approved by criteria",
  "approved by timeout",
  "approved by unmatched-policy",
  "denied by votes",
  "denied by veto",
  "denied by unreachable",
  "denied by criteria",
  "denied by unmatched-policy",
  "expired by timeout",
  "cancelled by cancelled",
]
const rareAnswers = [
  "match",
  "vote",
  "ask",
  "answer",
  "edit",
  "delegate",
  "member-removed",
  "approvals.already-submitted",
  "approvals.request-ended",
  "approvals.request-unmatched",
  "approvals.already-matched",
  "approvals.not-a-member",
  "approvals.level-not-open",
  "approvals.level-closed",
  "approvals.member-removed",
  "approvals.self-approval",
  "approvals.same-team",
  "approvals.content-changed",
  "approvals.abstention-refused",
  "approvals.already-voted",
  "approvals.member-has-voted",
  "approvals.question-open",
  "approvals.no-question",
  "approvals.not-the-requester",
  "approvals.delegate-refused",
]

describe("simulated requests keep every invariant (V1 to V22)", () => {
  test(
    seedGiven === undefined ? `${schedulesCount} requests from seed ${firstSeed}` : `seed ${seedGiven}`,
    () => {
      const seeds =
        seedGiven === undefined ? Array.from({ length: schedulesCount }, (_, i) => firstSeed + i) : [Number(seedGiven)]
      const seen = new Map<string, number>()
      for (const seed of seeds) {
        const report = simulate(seed, { trace: seedGiven !== undefined })
        if (report.failure) expect.fail(explain(simulate(seed, { trace: true })))
        if (seedGiven !== undefined) process.stdout.write(`${explain(report)}\n`)
        for (const [name, count] of [[report.end, 1] as const, ...report.tallies]) {
          seen.set(name, (seen.get(name) ?? 0) + count)
        }
      }
      if (seeds.length < 1000) return
      for (const name of [...rareEnds, ...rareAnswers]) expect(seen.get(name) ?? 0, name).toBeGreaterThan(1)
    },
    timeoutMilliseconds,
  )

  test("the same seed is the same request", () => {
    for (const seed of [3, 77, 1234]) {
      expect(simulate(seed, { trace: true })).toEqual(simulate(seed, { trace: true }))
    }
  })
})
