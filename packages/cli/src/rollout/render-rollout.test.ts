import fc from "fast-check"
import stringWidth from "string-width"
import { stripVTControlCharacters } from "node:util"
import { expect, test } from "vitest"
import { nodeMarks } from "./node-mark.ts"
import { renderRollout } from "./render-rollout.ts"
import { RolloutFold } from "./rollout-fold.ts"
import { startedAt, testExecution, testTask, testUpdate } from "./rollout.fixture.ts"

function midway() {
  const fold = new RolloutFold()
  fold.apply(testUpdate(testExecution({}, { queued: 12 })), startedAt)
  const tasks = [
    ...[0, 1, 2, 3, 5].map((ordinal) => testTask(ordinal)),
    testTask(4, { state: "failed", rollback: "rolled-back", message: 'step "restart" exited with 1' }),
    testTask(6, { state: "failed", rollback: "running", message: 'step "check" exited with 3' }),
    testTask(7, { state: "running", step: "restart", progress: 50 }),
    testTask(8, { state: "starting" }),
  ]
  const output = [
    { ordinal: 4, step: 1, stream: "stderr" as const, text: "bind: \u001b[31maddress in use\u001b[0m\n" },
    { ordinal: 6, step: 2, stream: "stdout" as const, text: "one\ntwo\n" },
  ]
  const counts = { queued: 3, starting: 1, running: 1, succeeded: 5, failed: 2, rolledBack: 1, rollbackRunning: 1 }
  fold.apply(testUpdate(testExecution({ inFlight: 3 }, counts), tasks, output), startedAt + 10_000)
  const view = fold.view(startedAt + 12_000)
  if (!view) throw new Error("there is a view after the first message")
  return view
}

test("a run at 80 columns", () => {
  expect(renderRollout(midway(), { columns: 80, rows: 24, colour: false })).toMatchInlineSnapshot(`
    "deploy v3  exe_01jd3v0n9wfx2s8q4r6t8v0xya  running  12s
    ███████████████████████░░░░░░░░░░░░░░░░░  58 %  7/12  0.6 nodes/s  about 9s left
    in flight 3/4  failures 2 of 2 tolerated  5 succeeded, 1 rolled back

    ■■■■↺■↶▸▹···

    ↺ web-4  rolled-back  step "restart" exited with 1  bind: address in use
    ↶ web-6  rolling-back  step "check" exited with 3  two
    ▸ web-7  restart  50 %
    ▹ web-8  starting"
  `)
})

test("the same at 40 columns and 12 rows", () => {
  expect(renderRollout(midway(), { columns: 40, rows: 12, colour: false })).toMatchInlineSnapshot(`
    "deploy v3
    exe_01jd3v0n9wfx2s8q4r6t8v0xya  running
    12s
    ███████████████████████░░░░░░░░░░░░░░░░░
    58 %  7/12  0.6 nodes/s  about 9s left
    in flight 3/4  failures 2 of 2 tolerated
    5 succeeded, 1 rolled back

    ■■■■↺■↶▸▹···

    ↺ web-4  rolled-back  step "restart" ex…
    ▸ web-7  restart  50 %"
  `)
})

test("a fleet that doesn't fit is drawn with several nodes a mark, the worst of them shown", () => {
  const fold = new RolloutFold()
  const execution = testExecution(
    { targets: { text: "all", count: 5000 }, width: 100, inFlight: 1, errorsMax: 50 },
    { queued: 4989, running: 1, succeeded: 9, failed: 1 },
  )
  const tasks = [
    ...Array.from({ length: 9 }, (_, ordinal) => testTask(ordinal)),
    testTask(9, { state: "failed", message: "disk full" }),
    testTask(4999, { state: "running", step: "copy" }),
  ]
  fold.apply(testUpdate(execution, tasks), startedAt + 5000)
  const view = fold.view(startedAt + 5000)
  if (!view) throw new Error("there is a view after the first message")
  expect(renderRollout(view, { columns: 60, rows: 16, colour: false })).toMatchInlineSnapshot(`
    "deploy v3  exe_01jd3v0n9wfx2s8q4r6t8v0xya  running  5s
    ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  0 %  10/5000
    in flight 1/100  failures 1 of 50 tolerated  9 succeeded

    ✗···························································
    ····························································
    ····························································
    ····························································
    ······················································▸
    each mark stands for 17 nodes, the worst of them

    ✗ web-9  disk full
    ▸ web-4999  copy"
  `)
})

test("colour adds escape sequences and changes nothing else", () => {
  const screen = { columns: 80, rows: 24 }
  const plain = renderRollout(midway(), { ...screen, colour: false })
  const coloured = renderRollout(midway(), { ...screen, colour: true })
  expect(coloured).not.toBe(plain)
  expect(stripVTControlCharacters(coloured)).toBe(plain)
})

test("each mark is one column wide", () => {
  for (const { glyph } of nodeMarks) expect(stringWidth(glyph)).toBe(1)
})

test("whatever the fleet and the screen, the picture fits", () => {
  const states = fc.constantFrom("succeeded", "failed", "running", "starting", "unreachable", "queued" as const)
  const task = fc.record({
    ordinal: fc.nat(3000),
    state: states,
    name: fc.string({ unit: "binary", maxLength: 40 }),
    message: fc.string(),
  })
  fc.assert(
    fc.property(
      fc.integer({ min: 40, max: 200 }),
      fc.integer({ min: 4, max: 60 }),
      fc.array(task),
      (columns, rows, tasks) => {
        const fold = new RolloutFold()
        const execution = testExecution(
          { targets: { text: "all", count: 3001 }, reason: "because of 世界\n" },
          { failed: 3 },
        )
        const updates = tasks.map(({ name, ...rest }) => testTask(rest.ordinal, { ...rest, nodeName: name }))
        fold.apply(testUpdate(execution, updates), startedAt)
        const view = fold.view(startedAt + 99_000)
        const lines = renderRollout(view ?? midway(), { columns, rows, colour: false }).split("\n")
        expect(lines.length).toBeLessThanOrEqual(rows)
        for (const line of lines) expect(stringWidth(line)).toBeLessThanOrEqual(columns)
      },
    ),
    { numRuns: 50 },
  )
})
