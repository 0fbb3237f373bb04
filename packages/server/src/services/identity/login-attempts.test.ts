import { hasCode } from "@signalbox/kernel/app-error"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, expect, test } from "vitest"
import { attemptLimits, countAttempt, forgetAttempts, removeOldAttempts } from "./login-attempts.ts"

let test_: TestDatabase

beforeAll(async () => {
  test_ = await createTestDatabase()
})

afterAll(() => test_.drop())

async function isLimited(sourceAddress: string): Promise<boolean> {
  try {
    await countAttempt(test_.database, { account: "main", sourceAddress }, 1000)
    return false
  } catch (error) {
    expect(hasCode(error, "identity.too-many-attempts")).toBe(true)
    return true
  }
}

test("X1: all addresses of one IPv6 network count together, and IPv4 however it is written", async () => {
  for (let i = 0; i < attemptLimits.perAddressMax; i++) {
    expect(await isLimited(`2001:db8:1:2::${i.toString(16)}`)).toBe(false)
    expect(await isLimited(i % 2 === 0 ? "192.0.2.1" : "::ffff:192.0.2.1")).toBe(false)
  }
  expect(await isLimited("2001:0db8:0001:0002:ffff:0:0:1")).toBe(true)
  expect(await isLimited("2001:db8:1:3::1")).toBe(false)
  expect(await isLimited("192.0.2.1")).toBe(true)
  expect(await isLimited("192.0.2.2")).toBe(false)
  expect(await isLimited("::1")).toBe(false)
})

test("X1: counts of the past go, those of now stay; a good login gives the address its try back", async () => {
  const attempt = { account: "main", user: "ann", sourceAddress: "198.51.100.1" }
  await countAttempt(test_.database, attempt, 2_000_000)
  await forgetAttempts(test_.database, attempt)
  const rows = await test_.database.query(
    "select attempts from login_attempts where window_ends_at > to_timestamp(2000)",
  )
  expect(rows).toEqual([{ attempts: 0 }])
  const removed = await removeOldAttempts(test_.database, { before: 2_000_000, limit: 1 })
  expect(removed).toBe(1)
})
