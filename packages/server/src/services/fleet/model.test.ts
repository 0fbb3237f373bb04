import { describe, expect, test } from "vitest"
import { agentTokenLimits, checkEnrollmentTerms, decideAdmission, findTimeFault, mergeEnrolledTags } from "./model.ts"

const hello = { machineId: "m1", agentVersion: "2" }

describe("X7: who may open a session", () => {
  test.each([
    ["the first machine", { machineId: null, agentVersion: null, heldAt: null }, { kind: "admit", write: true }],
    ["the same machine", { machineId: "m1", agentVersion: "2", heldAt: null }, { kind: "admit", write: false }],
    [
      "the same machine, upgraded",
      { machineId: "m1", agentVersion: "1", heldAt: null },
      { kind: "admit", write: true },
    ],
    [
      "another machine",
      { machineId: "m0", agentVersion: "2", heldAt: null },
      { kind: "clone", machineIds: ["m0", "m1"] },
    ],
    ["the same machine of a held node", { machineId: "m1", agentVersion: "2", heldAt: 1 }, { kind: "held" }],
    ["another machine of a held node", { machineId: "m0", agentVersion: "2", heldAt: 1 }, { kind: "held" }],
  ])("X7: %s", (_, node, expected) => {
    expect(decideAdmission(node, hello)).toEqual(expected)
  })
})

describe("X7: the times of a token", () => {
  const now = 1_000_000_000
  const { lifeSecondsMax: life, clockLeewaySeconds: leeway } = agentTokenLimits
  const at = (iat: number, exp: number) => findTimeFault({ iat: now / 1000 + iat, exp: now / 1000 + exp }, now)
  test.each([
    [0, life, true],
    [0, life + 1, false],
    [0, 0, false],
    [5, 1, false],
    [leeway, leeway + 1, true],
    [leeway + 1, leeway + 2, false],
    [-life - leeway, -leeway, true],
    [-life - leeway - 1, -leeway - 1, false],
    [Number.NaN, life, false],
  ])("from %i to %i: %s", (iat, exp, good) => {
    expect(at(iat, exp) === undefined).toBe(good)
  })
})

describe("X7: what an enrolment key allows", () => {
  const key = { id: "enk_1", usesMax: 2, usesCount: 1, expiresAt: 100, tags: { env: "prod" }, tagsAllowed: ["role"] }

  test("the last use and the last moment count, the next do not", () => {
    expect(() => checkEnrollmentTerms(key, 99)).not.toThrow()
    expect(() => checkEnrollmentTerms({ ...key, usesCount: 2 }, 99)).toThrow(/used 2 times/)
    expect(() => checkEnrollmentTerms(key, 100)).toThrow(/expired/)
  })

  test("tags are those of the key and those it allows", () => {
    expect(mergeEnrolledTags(key, { role: "web" })).toEqual({ env: "prod", role: "web" })
    expect(mergeEnrolledTags(key, { env: "prod" })).toEqual({ env: "prod" })
    for (const asked of [{ env: "dev" }, { constructor: "x" }, { team: "" }])
      expect(() => mergeEnrolledTags(key, asked)).toThrow(/doesn't allow/)
  })
})
