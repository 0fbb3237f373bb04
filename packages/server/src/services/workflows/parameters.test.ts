import { parameterDeclaration } from "@signalbox/contracts/workflows/document"
import { describe, expect, it } from "vitest"
import { parametersLengthMax, resolveParameters } from "./parameters.ts"

const declare = (fields: object): ReturnType<typeof parameterDeclaration.parse> => parameterDeclaration.parse(fields)
const refused = (message: RegExp): unknown =>
  expect.objectContaining({ code: "workflows.invalid-parameters", message: expect.stringMatching(message) })

describe("parameters of a run", () => {
  it("take defaults, and texts for numbers and booleans", () => {
    const declared = {
      version: declare({ pattern: "^v[0-9]+$" }),
      count: declare({ type: "integer", min: 1, default: 2 }),
      share: declare({ type: "number" }),
      dry: declare({ type: "boolean" }),
      note: declare({ required: false }),
    }
    expect(resolveParameters(declared, { version: "v1", share: "0.5", dry: "true" })).toEqual({
      version: "v1",
      count: 2,
      share: 0.5,
      dry: true,
      note: "",
    })
  })

  it.each([
    [{ p: declare({}) }, {}, /required/],
    [{}, { q: 1 }, /not a parameter/],
    [{ p: declare({ pattern: "^v[0-9]+$" }) }, { p: "v1; reboot" }, /doesn't match/],
    [{ p: declare({ type: "integer" }) }, { p: "1.5" }, /not an integer/],
    [{ p: declare({ type: "integer", max: 3 }) }, { p: 4 }, /above 3/],
    [{ p: declare({ enum: ["a", "b"] }) }, { p: "c" }, /not one of a, b/],
    [{ p: declare({ type: "boolean" }) }, { p: "maybe" }, /not a boolean/],
    [{ p: declare({ lengthMax: 2 }) }, { p: "abc" }, /longer than 2/],
    [{ p: declare({}) }, { p: "a\0b" }, /NUL/],
    [{ p: declare({}) }, { p: "x".repeat(parametersLengthMax + 1) }, /in all/],
    [{ p: declare({}) }, JSON.parse('{"__proto__": "x", "p": "y"}'), /not a parameter/],
  ])("are checked: %#", (declared, given, message) => {
    expect(() => resolveParameters(declared, given)).toThrow(refused(message))
  })

  it("match any pattern in linear time", () => {
    const begin = performance.now()
    const declared = { p: declare({ pattern: "^(a+)+$" }) }
    expect(() => resolveParameters(declared, { p: `${"a".repeat(8000)}!` })).toThrow(refused(/doesn't match/))
    expect(performance.now() - begin).toBeLessThan(1_000)
  })
})
