import type { RequestState } from "@signalbox/approvals/types"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import fc from "fast-check"
import { afterAll, beforeAll, expect, test } from "vitest"
import type { RequestRow } from "./request-store.ts"
import { toRequest } from "./request-wire.ts"
import { shownStateSql, type ShownState } from "./shown-state.ts"

let fixture: TestDatabase

beforeAll(async () => {
  fixture = await createTestDatabase()
})

afterAll(() => fixture.drop())

const row: Omit<RequestRow, "stateData"> = {
  ...{
    id: "apr_1",
    account: "main",
    state: "open",
    type: "purchase",
    title: "chairs",
    attributes: {},
    nextTimerAt: null,
  },
  ...{ requester: "ada", submitter: "ada", callback: null, notBefore: null, version: 1, cause: "req_1", depth: 0 },
  ...{ submittedAt: 0, decidedAt: null, held: null },
}

/** Text that both JSON and jsonb keep as it is. */
const text = fc.string({ maxLength: 8 }).map((any) => any.replaceAll("\0", ""))
const instant = fc.integer({ min: 0, max: 4e12 })
const person = fc.record({ key: text, name: text }, { requiredKeys: ["key"] })
const rule = fc.record(
  {
    name: text,
    group: text,
    strategy: fc.constant({ kind: "all" as const }),
    signedVotes: fc.constantFrom("accepted", "required"),
  },
  { requiredKeys: ["name", "group", "strategy"] },
)
const level = fc.record({
  state: fc.constantFrom("waiting", "open", "met"),
  timers: fc.option(fc.record({ expiresAt: instant, escalatesAt: fc.constant(null), remindsAt: fc.constant(null) })),
  seats: fc.array(fc.record({ key: text }), { maxLength: 2 }),
})
const question = fc.record({ number: fc.nat(9), text, by: person, askedAt: instant, lapsesAt: instant })
const state = fc
  .record({
    state: fc.constantFrom("unmatched", "open", "asking", "approved"),
    attributes: fc.dictionary(text, fc.oneof(text, fc.boolean(), fc.integer())),
    requester: person,
    revision: fc.nat(9),
    digest: text,
    template: fc.option(
      fc.record({
        name: text,
        version: fc.nat(9),
        rule: fc.record({ levels: fc.array(rule, { minLength: 1, maxLength: 3 }) }),
      }),
    ),
    level: fc.nat(3),
    levels: fc.array(level, { maxLength: 3 }),
    questions: fc.array(question, { maxLength: 2 }),
    unmatchedUntil: fc.option(instant),
    outcome: fc.option(
      fc.record({ result: fc.constantFrom("approved", "denied"), reason: fc.constant("votes"), by: person }),
    ),
  })
  // What nothing shows is left out.
  .map((parts) => parts as unknown as RequestState)

test("A15: a list shows of a request what a look at the request itself shows", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(state, { minLength: 1, maxLength: 50 }), async (states) => {
      const rows = await fixture.database.query<{ shown: ShownState }>(
        `select ${shownStateSql} as shown from jsonb_array_elements($1::jsonb) with ordinality given (s, n) order by n`,
        [JSON.stringify(states)],
      )
      const listed = rows.map(({ shown }) => toRequest({ ...row, shown }, "url"))
      expect(listed).toEqual(states.map((stateData) => toRequest({ ...row, stateData }, "url")))
    }),
    { numRuns: 30 },
  )
})
