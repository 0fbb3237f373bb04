import { describe, expect, test } from "vitest"
import { compileInputTemplate, inputTemplateLimits } from "./input-template.ts"

const variables = { event: "dyn", operation: "string" } as const
const event = { subject: "nod_1", data: { node: "web-1", load: 93.5, tags: { role: "web" }, mounts: ["/", "/var"] } }
const render = (value: unknown) => compileInputTemplate(value, variables).render({ event, operation: "nodes.get" })

describe("R6: an action's input is templated from the cause", () => {
  test.each([
    ["a text without expressions", "plain", "plain"],
    ["an expression alone keeps its type", "${{ event.data.load }}", 93.5],
    ["a list stays a list", "${{ event.data.mounts }}", ["/", "/var"]],
    ["a map stays a map", "${{ event.data.tags }}", { role: "web" }],
    [
      "within text a value is written out",
      "load ${{ event.data.load }} on ${{event.data.node}}!",
      "load 93.5 on web-1!",
    ],
    ["an expression that holds }}", '${{ {"a": {"b": 1}}.a.b == 1 ? "yes}}" : "no" }}', "yes}}"],
    ["what is no text is left alone", { count: 3, on: [true, null] }, { count: 3, on: [true, null] }],
    ["texts anywhere within", { targets: { nodes: ["${{ event.data.node }}"] } }, { targets: { nodes: ["web-1"] } }],
  ])("%s", (_name, template, expected) => {
    expect(render(template)).toEqual(expected)
  })

  test.each([
    ["an unknown name", { targets: { nodes: ["${{ evnt.data }}"] } }, "targets.nodes.0"],
    ["an expression that never ends", { note: "${{ event.data" }, "note"],
    ["nothing at all", { note: "${{ }}" }, "note"],
    ["too many expressions", { note: "${{ event }}".repeat(inputTemplateLimits.expressionsMax + 1) }, "note"],
  ])("%s is refused with its place", (_name, template, place) => {
    expect(() => compileInputTemplate(template, variables)).toThrow(
      expect.objectContaining({ code: "expressions.invalid", issues: [expect.objectContaining({ path: place })] }),
    )
  })

  test("an expression without a result fails where the template is rendered", () => {
    expect(() => render({ note: "${{ event.data.missing }}" })).toThrow(
      expect.objectContaining({ code: "expressions.evaluation-failed" }),
    )
  })

  test("what is nested too deep, and what comes to too much, is refused", () => {
    let deep: unknown = "x"
    for (let depth = 0; depth < inputTemplateLimits.depthMax + 1; depth++) deep = [deep]
    expect(() => compileInputTemplate(deep, variables)).toThrow(
      expect.objectContaining({ code: "expressions.invalid" }),
    )
    const long = "x".repeat(3_000)
    const many = compileInputTemplate("${{ event }}".repeat(100), variables)
    expect(() => many.render({ event: long })).toThrow(
      expect.objectContaining({ code: "expressions.evaluation-failed" }),
    )
  })
})
