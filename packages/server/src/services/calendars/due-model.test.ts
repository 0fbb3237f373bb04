import { assert as check, array, constantFrom, integer, property, record } from "fast-check"
import { describe, expect, test } from "vitest"
import { decideDue, punctualMilliseconds, type DueSchedule } from "./due-model.ts"
import { instantsFrom } from "./timing.ts"

const minute = 60_000
const every = (minutes: number): DueSchedule => ({
  timing: { kind: "every", everyMilliseconds: minutes * minute, anchor: 0 },
  nextAt: 10 * minute,
  catchUp: "skip",
  catchUpMax: 3,
  startWithinMilliseconds: 60 * minute,
})

describe("W8: what was missed, by policy", () => {
  const now = 60 * minute + 5_000

  test("W8: an instant found in time fires, whatever the policy", () => {
    for (const catchUp of ["skip", "latest", "all"] as const) {
      expect(decideDue({ ...every(10), catchUp }, 10 * minute + 900)).toEqual({
        fire: 10 * minute,
        nextAt: 20 * minute,
      })
    }
  })

  test("W8: skip gives up all that is late, in one record, and fires what is due now", () => {
    expect(decideDue(every(10), now)).toEqual({
      missed: { first: 10 * minute, last: 50 * minute, count: 5 },
      fire: 60 * minute,
      nextAt: 70 * minute,
    })
    expect(decideDue(every(10), now + 5 * minute)).toEqual({
      missed: { first: 10 * minute, last: 60 * minute, count: 6 },
      nextAt: 70 * minute,
    })
  })

  test("W8: latest fires once for all that was missed, and not beside one that is due now", () => {
    const latest = { ...every(10), catchUp: "latest" } as const
    expect(decideDue(latest, now)).toMatchObject({ missed: { count: 5 }, fire: 60 * minute })
    expect(decideDue(latest, now + 5 * minute)).toEqual({
      missed: { first: 10 * minute, last: 50 * minute, count: 5 },
      fire: 60 * minute,
      nextAt: 70 * minute,
    })
  })

  test("W8: all makes up the last catchUpMax of them, the oldest first", () => {
    const all = { ...every(10), catchUp: "all" } as const
    const first = decideDue(all, now + 5 * minute)
    expect(first).toEqual({
      missed: { first: 10 * minute, last: 30 * minute, count: 3 },
      fire: 40 * minute,
      nextAt: 50 * minute,
    })
    expect(decideDue({ ...all, nextAt: 50 * minute }, now + 5 * minute)).toEqual({
      fire: 50 * minute,
      nextAt: 60 * minute,
    })
  })

  test("W8: nothing starts later than startWithin", () => {
    const late = { ...every(10), catchUp: "all", catchUpMax: 100, startWithinMilliseconds: 15 * minute } as const
    expect(decideDue(late, now + 4 * minute)).toMatchObject({ missed: { last: 40 * minute }, fire: 50 * minute })
    const strict = { ...every(10), startWithinMilliseconds: 10_000 }
    expect(decideDue(strict, 10 * minute + 10_000)).toMatchObject({ fire: 10 * minute })
    expect(decideDue(strict, 10 * minute + 10_001)).toMatchObject({ missed: { count: 1 }, nextAt: 20 * minute })
  })
})

test("W8: over any sequence of looks each instant is fired once or missed once, in order", () => {
  const anySchedule = record({
    minutes: integer({ min: 1, max: 90 }),
    catchUp: constantFrom("skip" as const, "latest" as const, "all" as const),
    catchUpMax: integer({ min: 1, max: 5 }),
    startWithin: integer({ min: 10, max: 7_200 }),
  })
  check(
    property(
      anySchedule,
      array(integer({ min: 1, max: 300 * minute }), { minLength: 1, maxLength: 30 }),
      (of, pauses) => {
        const schedule: DueSchedule = {
          timing: { kind: "every", everyMilliseconds: of.minutes * minute, anchor: 0 },
          nextAt: 0,
          catchUp: of.catchUp,
          catchUpMax: of.catchUpMax,
          startWithinMilliseconds: of.startWithin * 1000,
        }
        let now = 0
        let nextAt: number | null = 0
        const decided: number[] = []
        for (const pause of pauses) {
          now += pause
          for (let round = 0; nextAt !== null && nextAt <= now; round++) {
            expect(round).toBeLessThan(1_000)
            const decision = decideDue({ ...schedule, nextAt }, now)
            const { missed, fire } = decision
            if (missed)
              decided.push(...instantsFrom(schedule, { after: missed.first - 1, until: missed.last, limit: 9e9 }))
            if (fire !== undefined) {
              decided.push(fire)
              expect(now - fire).toBeLessThanOrEqual(Math.max(schedule.startWithinMilliseconds, 0))
              if (of.catchUp === "skip") expect(now - fire).toBeLessThanOrEqual(punctualMilliseconds)
            }
            nextAt = decision.nextAt
          }
        }
        expect(decided).toEqual(instantsFrom(schedule, { after: -1, until: now, limit: 9e9 }))
      },
    ),
    { numRuns: 200 },
  )
})
