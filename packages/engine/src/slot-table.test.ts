import fc from "fast-check"
import { expect, test } from "vitest"
import { SlotTable } from "./slot-table.ts"
import type { Slot } from "./types.ts"

function slotAt(ordinal: number, attempt: number): Slot {
  return {
    ordinal,
    attempt,
    state: "starting",
    rollback: "none",
    class: null,
    accepted: false,
    touched: false,
    killSent: false,
    deadline: 0,
  }
}

const content = (table: SlotTable): Array<[number, number]> =>
  [...table.values()]
    .map(({ ordinal, attempt }): [number, number] => [ordinal, attempt])
    .toSorted((a, b) => a[0] - b[0])

test("I13: a fork and its origin never see each other's changes", () => {
  const ordinals = fc.integer({ min: 0, max: 200 })
  const change = fc.record({ table: fc.nat(), kind: fc.constantFrom("set", "delete", "fork"), ordinal: ordinals })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 80 }), (changes) => {
      const tables = [{ table: new SlotTable(), model: new Map<number, number>() }]
      for (const [attempt, { table: which, kind, ordinal }] of changes.entries()) {
        const { table, model } = tables[which % tables.length] ?? expect.fail("there is a table")
        if (kind === "fork") tables.push({ table: table.fork(), model: new Map(model) })
        else if (kind === "delete") {
          table.delete(ordinal)
          model.delete(ordinal)
        } else {
          table.set(slotAt(ordinal, attempt))
          model.set(ordinal, attempt)
        }
      }
      for (const { table, model } of tables) {
        expect(content(table)).toEqual([...model].toSorted((a, b) => a[0] - b[0]))
        expect(table.size).toBe(model.size)
        for (const [ordinal, attempt] of model) expect(table.get(ordinal)?.attempt).toBe(attempt)
      }
    }),
  )
})
