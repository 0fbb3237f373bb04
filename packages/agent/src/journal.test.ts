import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { applyRecord, attemptFileName, isSettled, type JournalRecord, newAttempt } from "./attempt.ts"
import { Journal } from "./journal.ts"
import { newKey, orderOf, shell } from "./protocol-server.fixture.ts"

let directory: string
const clock = { now: () => 1_700_000_000_000 }
const open = () => Journal.open(directory, clock)
const fileOf = (key: string) => join(directory, `${attemptFileName(key)}.log`)
const accepted = { type: "accepted", phase: "task", startBefore: 0, order: orderOf([shell("true")]) } as const

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "signalbox journal "))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

describe("journal", () => {
  test("holds what was appended, also for the next process", async () => {
    const key = newKey()
    const journal = await open()
    await journal.append(key, accepted)
    await journal.append(key, { type: "started", phase: "task", savedBytes: 7 })
    expect(statSync(fileOf(key)).mode & 0o777).toBe(0o600)
    const again = await open()
    expect(again.find(key)).toEqual(journal.find(key))
    expect(again.find(key)).toMatchObject({ phases: { task: "running", rollback: "none" }, savedBytes: 7 })
    expect((await again.read(key))[0]).toEqual({ ...accepted, at: clock.now() })
  })

  test("cut anywhere, it holds the records before the cut, and can be appended to", async () => {
    const key = newKey()
    const journal = await open()
    await journal.append(key, accepted)
    await journal.append(key, { type: "started", phase: "task" })
    await journal.append(key, { type: "step", phase: "task", step: 0 })
    const whole = readFileSync(fileOf(key))
    const lines = whole
      .toString()
      .split("\n")
      .map((line) => Buffer.byteLength(line) + 1)
    for (let length = 0; length < whole.length; length += 7) {
      writeFileSync(fileOf(key), whole)
      truncateSync(fileOf(key), length)
      const cut = await open()
      const complete = lines.filter(
        (_, index) => lines.slice(0, index + 1).reduce((sum, bytes) => sum + bytes, 0) <= length,
      ).length
      expect(cut.find(key)?.phases.task).toBe([undefined, "accepted", "running", "running"][complete])
      expect(cut.find(key)?.damaged ?? false).toBe(false)
      if (complete === 0) expect(readdirSync(directory)).toEqual([])
      await cut.append(key, { type: "killed", reason: "test" })
      expect((await open()).find(key)?.killedReason).toBe("test")
    }
  })

  test("damage in the middle is noticed, the file set aside, and nothing after it believed", async () => {
    const key = newKey()
    const journal = await open()
    await journal.append(key, accepted)
    await journal.append(key, { type: "started", phase: "task" })
    await journal.append(key, { type: "step", phase: "task", step: 0 })
    const text = readFileSync(fileOf(key), "utf8")
    writeFileSync(fileOf(key), text.replace('"started"', '"stXrted"'))
    const damaged = await open()
    expect(damaged.find(key)).toMatchObject({ damaged: true, phases: { task: "accepted" } })
    expect(readFileSync(`${fileOf(key)}.damaged`, "utf8")).toContain("stXrted")
    expect((await open()).find(key)).toMatchObject({ damaged: true, phases: { task: "accepted" } })
    await damaged.remove(key, () => false)
    expect(damaged.size).toBe(1)
    await damaged.remove(key, () => true)
    expect(readdirSync(directory)).toEqual([])
  })

  test("files that are none of its own are left alone", async () => {
    appendFileSync(join(directory, "notes.log"), "mine")
    const journal = await open()
    expect(journal.size).toBe(0)
    expect(readdirSync(directory)).toEqual(["notes.log"])
  })
})

test("D14: whatever records follow, a finished phase stays finished and is never accepted again", () => {
  const phase = fc.constantFrom("task" as const, "rollback" as const)
  const outcomes = {
    task: { state: "succeeded", steps: [] },
    rollback: { state: "rolled-back", restored: 0, undone: [] },
  }
  const record = fc.oneof(
    fc.constant(accepted),
    fc.constant({ type: "accepted", phase: "rollback" }),
    fc.record({ type: fc.constantFrom("started", "acknowledged"), phase }),
    phase.map((which) => ({ type: "finished", phase: which, outcome: outcomes[which] })),
    fc.constant({ type: "killed", reason: "x" }),
  ) as unknown as fc.Arbitrary<JournalRecord>
  const property = fc.property(fc.array(record, { maxLength: 30 }), (records) => {
    let attempt = newAttempt("exe_/0/1")
    for (const next of records) {
      const after = applyRecord(attempt, next)
      for (const which of ["task", "rollback"] as const) {
        if (attempt.phases[which] === "finished") expect(after.phases[which]).toBe("finished")
        if (after.acknowledged[which]) expect(after.phases[which]).toBe("finished")
      }
      attempt = after
    }
    if (isSettled(attempt))
      for (const which of ["task", "rollback"] as const) expect(["none", "finished"]).toContain(attempt.phases[which])
  })
  fc.assert(property, { numRuns: 300 })
})
