import { describe, expect, test } from "vitest"
import { attributeChange } from "./model.ts"

const minute = 60_000
const at = (minutes: number) => 1_900_000_000_000 + minutes * minute

describe("X4: whose change it was", () => {
  const early = { id: "early", startedAt: at(10), finishedAt: at(12) }
  const late = { id: "late", startedAt: at(50), finishedAt: at(52) }
  const open = { id: "open", startedAt: at(58) }
  const change = { seenAfter: at(0), seenAt: at(60) }

  test.each([
    ["a run was at work when the machine says it was", { ...change, changedAt: at(11) }, [early, late], "run", "early"],
    ["no run was at work then", { ...change, changedAt: at(30) }, [early, late], "outside", undefined],
    ["a clock is off by seconds", { ...change, changedAt: at(12) + 3000 }, [early, late], "run", "early"],
    ["a run has not ended yet", { ...change, changedAt: at(59) }, [early, open], "run", "open"],
    ["the machine does not say when", change, [early, late], "maybe-run", "late"],
    ["the machine does not say when, and no run was at work", change, [], "outside", undefined],
    ["the machine's clock is wrong by hours", { ...change, changedAt: at(-600) }, [early], "maybe-run", "early"],
    ["a run ended before what was seen last", { ...change, seenAfter: at(20) }, [early], "outside", undefined],
  ] as const)("%s", (...[, given, runs, kind, id]) => {
    const found = attributeChange(given, runs)
    expect(found.kind).toBe(kind)
    expect(found.kind === "outside" ? undefined : found.run.id).toBe(id)
  })
})
