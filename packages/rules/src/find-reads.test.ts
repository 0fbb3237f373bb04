import { parseExpression } from "@signalbox/expressions/parse-expression"
import { expect, test } from "vitest"
import { findReads } from "./find-reads.ts"

test.each([
  ["input.body.a > 1 && caller.kind == 'user'", ["input.body.a", "caller.kind"]],
  ["has(input.body.a)", ["input.body.a"]],
  ["input['body'].a == 1", ["input.body.a"]],
  ["size(input) > 3", ["input"]],
  ["input[caller.kind] == 1", ["input", "caller.kind"]],
  ["input.body.items[0].n == 1", ["input.body.items"]],
  ["input.path.tags.exists(input, input == 'a') || !input.query.dry", ["input.path.tags", "input.query.dry"]],
  ["caller.teams.exists(t, t == input.body.team)", ["caller.teams", "input.body.team"]],
  ["[input.a, 1].exists(x, x == 2) && {'k': input.b}.k == 1", ["input.a", "input.b"]],
  ["input.name.startsWith(input.query.q) ? true : operation == 'x'", ["input.name", "input.query.q", "operation"]],
])("%s reads %j", (when, paths) => {
  expect(findReads(parseExpression(when)).map((path) => path.join("."))).toEqual(paths)
})
