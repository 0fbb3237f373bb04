import { strategy } from "@signalbox/contracts/workflows/strategy"
import { expect, test } from "vitest"
import { fillHealth, healthSecrets } from "./health-texts.ts"

function checkOf(health: object) {
  const { health: check } = strategy.parse({ health })
  if (!check) throw new Error("a health check was given")
  return check
}

test("W5: a health check is filled in with parameters and secrets", () => {
  const check = checkOf({
    http: { url: "https://${{ params.host }}/health", headers: { authorization: "Bearer ${{ secrets.probe }}" } },
  })
  expect(healthSecrets(check)).toEqual(["probe"])
  const filled = fillHealth(check, { parameters: { host: "shop.example" }, secrets: { probe: "hunter2-hunter2" } })
  expect(filled.http).toMatchObject({
    url: "https://shop.example/health",
    headers: { authorization: "Bearer hunter2-hunter2" },
  })
  expect(() => fillHealth(check, { parameters: {}, secrets: { probe: "x" } })).toThrow(/has no value/)
})

test.each([
  ["a node", { http: { url: "https://${{ node.name }}/" } }],
  ["a step", { http: { url: "https://a/${{ steps.a.outputs.b }}" } }],
  ["a template in a command", { run: "curl ${{ params.host }}", on: "web-1" }],
])("refuses %s, which the check can't know", (_, health) => {
  expect(() => healthSecrets(checkOf(health))).toThrow(expect.objectContaining({ code: "executions.invalid-strategy" }))
})
