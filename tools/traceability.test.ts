import { expect, test } from "vitest"
import {
  countTestsByRequirement,
  findMissingRequirements,
  formatTraceability,
  type Requirements,
} from "./traceability.ts"

const requirements: Requirements = {
  sections: { W: { title: "Workflows", count: 3 }, X: { title: "Product", count: 2 } },
  finished: { W1: "one task for each target", X2: "roles" },
}
const tests = [
  { title: "W1: a task for each target", passed: true },
  { title: "scheduler W1, W2: both, and W1 again, and X509 and W9", passed: true },
  { title: "X2: fails", passed: false },
]

test("X15: requirements are counted by the tests that passed and name them", () => {
  const counts = countTestsByRequirement(requirements, tests)
  expect(Object.fromEntries(counts)).toEqual({ W1: 2, W2: 1, W3: 0, X1: 0, X2: 0 })
})

test("X15: a finished requirement that no passed test names is a problem, and so is one that doesn't exist", () => {
  const counts = countTestsByRequirement(requirements, tests)
  expect(findMissingRequirements({ ...requirements, finished: { ...requirements.finished, Z1: "?" } }, counts)).toEqual(
    [
      "X2 is finished (roles), but no test that passed names it",
      "Z1 is listed as finished, but there is no such requirement",
    ],
  )
})

test("X15: the table shows finished, begun and untested requirements of each section", () => {
  expect(formatTraceability(requirements, countTestsByRequirement(requirements, tests))).toBe(
    "W  Workflows: finished W1(2); begun W2(1); no test yet W3\nX  Product: finished X2; no test yet X1",
  )
})
