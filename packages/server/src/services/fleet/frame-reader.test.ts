import { agentFrame } from "@signalbox/contracts/fleet/agent-protocol"
import fc from "fast-check"
import { expect, test } from "vitest"
import { isUsualFinish, readFrame } from "./frame-reader.ts"

const output = { head: "done\n", tail: "", bytes: 5, truncated: false }
const usual = {
  type: "task-finished",
  key: `exe_${"0".repeat(26)}/12/1`,
  outcome: {
    state: "succeeded",
    steps: [
      { name: "one", state: "succeeded", attempts: 1, exitCode: 0, startedAt: "x", durationMilliseconds: 3 },
      { name: "two", state: "skipped", attempts: 0, durationMilliseconds: 0, changed: false },
      { name: "three", state: "succeeded", attempts: 1, durationMilliseconds: 3, stdout: output, stderr: output },
    ],
  },
}

const read = (value: unknown) => readFrame(Buffer.from(JSON.stringify(value)), false)

test("the end of a task that succeeded is read without the schema, and as the schema reads it", () => {
  expect(isUsualFinish(usual)).toBe(true)
  expect(read(usual)).toEqual(agentFrame.parse(usual))
})

type Path = ReadonlyArray<string | number>

/** All places of a JSON value. */
function placesOf(value: unknown, at: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return [at]
  return [at, ...Object.entries(value).flatMap(([name, member]) => placesOf(member, [...at, name]))]
}

interface Change {
  readonly to: unknown
  readonly extra: string | undefined
}

/** The same value with another one at this place, or with a member more. */
function changed(value: unknown, at: Path, change: Change): unknown {
  const { to, extra } = change
  const [name, ...rest] = at
  const copy: unknown = structuredClone(value)
  if (name === undefined) {
    if (extra === undefined || typeof copy !== "object" || copy === null) return to
    return Object.defineProperty(copy, extra, { value: to, enumerable: true })
  }
  const record = copy as Record<string | number, unknown>
  record[name] = changed(record[name], rest, change)
  return record
}

const names = ["extra", "__proto__", "class", "message", "signal", "outputs", "denied", "stderr", "startedAt", "0"]
const values = fc.oneof(
  fc.jsonValue({ maxDepth: 1 }),
  fc.constantFrom(output, 2 ** 60, 1.5, "failed", "succeeded", "not-run", "command", undefined, ""),
  fc.constant("/12/1"),
)

test("what the schema would refuse, or not keep as it is, is never taken for usual", () => {
  const change = fc.record({
    at: fc.constantFrom(...placesOf(usual)),
    to: values,
    extra: fc.option(fc.constantFrom(...names), { nil: undefined }),
  })
  fc.assert(
    fc.property(change, ({ at, to, extra }) => {
      const value: unknown = JSON.parse(JSON.stringify(changed(usual, at, { to, extra })) ?? "null")
      if (!isUsualFinish(value)) return
      const result = agentFrame.safeParse(value)
      expect(result.success).toBe(true)
      expect(JSON.stringify(sorted(result.data))).toBe(JSON.stringify(sorted(value)))
    }),
    { numRuns: 5_000 },
  )
})

test("what is not usual is still read, and told why where it can't be", () => {
  const failed = { ...usual, outcome: { ...usual.outcome, state: "failed", class: "command", more: 1 } }
  expect(read(failed)).toMatchObject({ outcome: { state: "failed", class: "command" } })
  expect(() => read({ ...usual, key: "no key" })).toThrow("the frame doesn't fit the protocol: key")
})

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== "object" || value === null) return value
  return Object.entries(value)
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, member]) => [name, sorted(member)])
}
