import type { JournalRecord } from "@signalbox/agent/attempt"
import { formatRecord } from "@signalbox/agent/journal"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it } from "vitest"
import { isEntryOver, readNodeJournal, summarizeRecords } from "./node-journal.ts"

const executionId = "exe_01m80h8wm1e5t8zgx7bwjs0yvz"
const key = `${executionId}/3/1`

const order = { save: [], steps: [], timeoutMilliseconds: 1 }
const begun: JournalRecord[] = [
  { type: "accepted", phase: "task", startBefore: 0, order, at: 10 },
  { type: "started", phase: "task", at: 11 },
  { type: "step", phase: "task", step: 0, at: 12 },
  { type: "step", phase: "task", step: 1, at: 13 },
]
const failed: JournalRecord = {
  type: "finished",
  phase: "task",
  outcome: { state: "failed", class: "command", message: "step 2 exited with 1", steps: [] },
  at: 20,
}
const rolledBack: JournalRecord[] = [
  { type: "accepted", phase: "rollback", at: 22 },
  { type: "started", phase: "rollback", at: 23 },
  { type: "step", phase: "rollback", step: 1, at: 24 },
  { type: "finished", phase: "rollback", outcome: { state: "rolled-back", restored: 1, undone: [] }, at: 30 },
]

it("spans from the order to the end of the rollback", () => {
  const entry = summarizeRecords(key, [...begun, failed, ...rolledBack])
  expect(entry).toEqual({
    executionId,
    attempt: 1,
    state: "failed",
    rollback: "rolled-back",
    message: "step 2 exited with 1",
    from: 10,
    to: 30,
    taskEndedAt: 20,
    ranTwice: false,
  })
  expect(isEntryOver(entry)).toBe(true)
})

it("is not over before the rollback of a failed task", () => {
  expect(isEntryOver(summarizeRecords(key, begun))).toBe(false)
  expect(isEntryOver(summarizeRecords(key, [...begun, failed]))).toBe(false)
})

it.each([
  ["the task", { type: "started", phase: "task", at: 14 }],
  ["a step", { type: "step", phase: "task", step: 1, at: 14 }],
] satisfies ReadonlyArray<[string, JournalRecord]>)("tells that %s was started twice", (_what, again) => {
  expect(summarizeRecords(key, begun).ranTwice).toBe(false)
  expect(summarizeRecords(key, [...begun, again]).ranTwice).toBe(true)
})

it("a step and its undo are not the same thing twice", () => {
  expect(summarizeRecords(key, [...begun, ...rolledBack]).ranTwice).toBe(false)
})

it("reads what an agent wrote, and nothing where there is no journal", async () => {
  const directory = await mkdtemp(join(tmpdir(), "signalbox demo journal "))
  try {
    expect(await readNodeJournal(directory)).toEqual([])
    await mkdir(join(directory, "journal"))
    const text = [...begun, failed].map(formatRecord).join("")
    await writeFile(join(directory, "journal", `${key.replaceAll("/", ".")}.log`), text)
    const [entry, ...others] = await readNodeJournal(directory)
    expect(others).toEqual([])
    expect(entry).toMatchObject({ executionId, attempt: 1, state: "failed", rollback: undefined })
  } finally {
    await rm(directory, { recursive: true })
  }
})
