import { scryptSync } from "node:crypto"
import { hasCode } from "@signalbox/kernel/app-error"
import { expect, test } from "vitest"
import { systemRandom } from "../../system.ts"
import { createPasswords, passwordCost } from "./password.ts"

const cheap = { log2N: 4, r: 8, p: 1 }

test("X1: a hash is scrypt with the parameters and the salt that it carries", async () => {
  const passwords = createPasswords({ random: systemRandom })
  const stored = await passwords.hash("correct horse battery")
  const [, , parameters, salt = "", hash = ""] = stored.split("$")
  expect(parameters).toBe("ln=14,r=8,p=5")
  const again = scryptSync("correct horse battery", Buffer.from(salt, "base64url"), 32, { N: 16_384, r: 8, p: 5 })
  expect(hash).toBe(again.toString("base64url"))
  expect(await passwords.hash("correct horse battery")).not.toBe(stored)
  expect(await passwords.verify("correct horse battery", stored)).toEqual({ matches: true, outdated: false })
  expect(await passwords.verify("Correct horse battery", stored)).toEqual({ matches: false, outdated: false })
  expect(2 ** passwordCost.log2N * passwordCost.r * 128).toBe(16 * 1024 * 1024)
})

test("X1: a hash of other parameters still counts and is told to be outdated", async () => {
  const older = await createPasswords({ random: systemRandom, cost: { log2N: 3, r: 4, p: 2 } }).hash("an old password")
  const today = createPasswords({ random: systemRandom, cost: cheap })
  expect(await today.verify("an old password", older)).toEqual({ matches: true, outdated: true })
})

test("X1: one text typed on two keyboards is one password", async () => {
  const passwords = createPasswords({ random: systemRandom, cost: cheap })
  const stored = await passwords.hash("caf\u00e9 au lait matin")
  expect((await passwords.verify("cafe\u0301 au lait matin", stored)).matches).toBe(true)
})

test("X1: where there is no hash, nothing matches and one is computed all the same", async () => {
  const passwords = createPasswords({ random: systemRandom, cost: cheap })
  expect(await passwords.verify("any", null)).toEqual({ matches: false, outdated: false })
})

test("X1: a bounded number waits; more are refused at once and the others are served", async () => {
  const passwords = createPasswords({ random: systemRandom, cost: { log2N: 10, r: 8, p: 1 } })
  const results = await Promise.allSettled(Array.from({ length: 80 }, () => passwords.verify("any", null)))
  const refused = results.filter((result) => result.status === "rejected")
  expect(refused).toHaveLength(80 - 2 - 64)
  for (const { reason } of refused) expect(hasCode(reason, "identity.too-many-attempts")).toBe(true)
  expect(await passwords.verify("any", null)).toMatchObject({ matches: false })
})
