import { expect, test } from "vitest"
import { renderDetails } from "./details.ts"
import { safeLine, safeText } from "./safe-text.ts"
import { fit, renderTable } from "./table.ts"

const rows = [
  { name: "web-1", tags: { role: "web", gpu: "" }, counts: { failed: 0 }, lastSeenAt: "2026-01-02T03:04:05.678Z" },
  { name: "a much longer name", tags: {}, counts: { failed: 12 } },
]
const fields = ["name", "tags", "counts.failed", "lastSeenAt"]

test("a table in a pipe is never cut", () => {
  expect(renderTable(rows, { fields })).toBe(
    [
      "NAME                TAGS          FAILED  LAST SEEN",
      "web-1               role=web,gpu  0       2026-01-02T03:04:05Z",
      "a much longer name  -             12      -",
      "",
    ].join("\n"),
  )
})

test("a table in a terminal fits into its columns, the widest of its own cut first", () => {
  const lines = renderTable(rows, { fields, columns: 50 }).trimEnd().split("\n")
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(50)
  expect(lines[2]).toMatch(/^a much lo\S*…/)
})

test("cells have one line and no control characters", () => {
  expect(renderTable([{ name: "a\nb\u001b[31mc\u0007" }], { fields: ["name"], heading: false })).toBe("a bc\n")
  expect(safeText("\u001b]52;c;ZXZpbA==\u0007ok\u009b2J\ta\r\nb")).toBe("ok\ta\nb")
  expect(safeLine("a\t\nb")).toBe("a b")
})

test("texts are cut by what a terminal shows, never inside a character", () => {
  expect(fit("世界世界", 5)).toBe("世界…")
  expect(fit("👩‍👩‍👧‍👦👩‍👩‍👧‍👦", 3)).toBe("👩‍👩‍👧‍👦…")
  expect(fit("abc", 3)).toBe("abc")
  expect(fit("abc", 0)).toBe("")
})

test("details: scalars, maps on one line, members of members, lists as tables, long texts last", () => {
  const value = {
    id: "x",
    tags: { a: "b" },
    workflow: { name: "w", version: 2 },
    none: undefined,
    text: "a\nb\n",
    items: [{ n: 1 }],
  }
  expect(renderDetails(value, undefined)).toBe(
    "id:               x\ntags:             a=b\nworkflow name:    w\nworkflow version: 2\n\ntext:\n  a\n  b\n\nitems:\n  N\n  1\n",
  )
})
