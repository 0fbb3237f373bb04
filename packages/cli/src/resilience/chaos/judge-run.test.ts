import { describe, expect, test } from "vitest"
import { judgeRun, type JudgedRun, type NodeWitness, type ToldTask } from "./judge-run.fixture.ts"

const before = "before\n"
const witness = (name: string, from: number, change: Partial<NodeWitness> = {}): NodeWitness => {
  const attempt = `exe_1/${name}/1/task/0`
  const entry = { executionId: "exe_1", attempt: 1, state: "succeeded", rollback: undefined, message: undefined }
  return {
    name,
    rack: "r1",
    entries: [{ ...entry, from, to: from + 10, taskEndedAt: from + 9, ranTwice: false }],
    begun: [attempt],
    ended: [attempt],
    spans: [{ from: from + 1, to: from + 8 }],
    content: `${attempt}\n`,
    ...change,
  }
}
const task = (nodeName: string, change: Partial<ToldTask> = {}): ToldTask => {
  return { nodeName, state: "succeeded", rollback: "none", attempt: 1, ...change }
}
const limits = { concurrency: 1, errorLimit: 0, strict: false, byRack: false, unavailableLimit: undefined }
const none = { failed: 0, interrupted: 0, aborted: 0, neverStarted: 0, unreachable: 0 }
const good: JudgedRun = {
  limits,
  run: { state: "succeeded", finishedAt: "now", counts: { ...none, succeeded: 2 } },
  tasks: [task("a"), task("b")],
  witnesses: [witness("a", 0), witness("b", 100)],
  before,
  neverStartedAtStop: undefined,
}
const first = good.witnesses[0]?.entries[0]
if (!first) throw new Error("the first node has an attempt")
const lost = { ...first, state: "failed" }
const withA = (change: Partial<NodeWitness>) => ({ ...good, witnesses: [witness("a", 0, change), witness("b", 100)] })

const bad: Readonly<Record<string, readonly [JudgedRun, RegExp]>> = {
  "a run that goes on": [{ ...good, run: { ...good.run, state: "running" } }, /has not ended: running/],
  "a task that goes on": [{ ...good, tasks: [task("a", { state: "running" }), task("b")] }, /a has not ended/],
  "a task that is missing": [{ ...good, tasks: [task("a")] }, /b has no task/],
  "an attempt that ran twice": [withA({ begun: ["x", "x"] }), /ran an attempt twice: x x/],
  "one that ran twice by the journal": [withA({ entries: [{ ...first, ranTwice: true }] }), /twice by its journal/],
  "an end that is told otherwise": [withA({ entries: [lost] }), /ended failed, told is succeeded/],
  "an attempt nobody knows of": [withA({ entries: [] }), /ran what its journal does not know/],
  "an attempt that never ends": [
    withA({ entries: [{ ...first, state: undefined }] }),
    /ended undefined, told is succeeded/,
  ],
  "a file that is not as it should be": [withA({ content: before }), /holds "before/],
  "a failed node that was not put back": [
    { ...withA({ entries: [lost] }), tasks: [task("a", { state: "failed", rollback: "rolled-back" }), task("b")] },
    /is told as failed, rolled-back and holds/,
  ],
  "a node that was given up and stays as it is": [
    { ...good, tasks: [task("a", { state: "unreachable" }), task("b")] },
    /ended succeeded, told is unreachable\na is told as unreachable, none and holds/,
  ],
  "counts that are not those of the tasks": [
    { ...good, run: { ...good.run, counts: { ...none, succeeded: 3 } } },
    /3 succeeded are told, 2 tasks are/,
  ],
  "more at once than allowed": [{ ...good, witnesses: [witness("a", 0), witness("b", 5)] }, /2 in flight at once/],
  "two of a rack at once": [
    {
      ...good,
      limits: { ...limits, concurrency: 2, byRack: true },
      witnesses: [witness("a", 0), witness("b", 5)],
    },
    /2 of r1 at once, the limit is 1/,
  ],
  "a strict bound that was passed": [
    {
      ...withA({ entries: [lost], content: before }),
      limits: { ...limits, strict: true },
      tasks: [task("a", { state: "failed" }), task("b")],
    },
    /2 in flight or failed, the limit is 1/,
  ],
  "too many unavailable": [
    { ...withA({ entries: [lost], content: before }), limits: { ...limits, unavailableLimit: 1 } },
    /2 unavailable at once, the limit is 1/,
  ],
  "a start after the stop": [{ ...good, neverStartedAtStop: ["b"] }, /b started after the stop/],
}

describe("the judge of runs among faults", () => {
  test("has nothing to say of a run that kept all promises", () => {
    expect(judgeRun(good)).toEqual([])
  })

  test("has nothing to say of a node that was given up, had ended well and went back", () => {
    const wentBack = withA({ entries: [{ ...first, rollback: "rolled-back" }], content: before })
    const tasks = [task("a", { state: "unreachable" }), task("b")]
    const run = { ...good.run, counts: { ...none, succeeded: 1, unreachable: 1 } }
    expect(judgeRun({ ...wentBack, tasks, run })).toEqual([])
  })

  test.each(Object.entries(bad))("sees %s", (_name, [judged, fault]) => {
    expect(judgeRun(judged).join("\n")).toMatch(fault)
  })
})
