import { randomUUID } from "node:crypto"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { FakeClock } from "@signalbox/testkit/fake-clock"
import {
  codeOf,
  eventTypes,
  makeEnrollmentKey,
  startFleetServer,
  TestMachine,
  type FleetServer,
} from "./fleet.fixture.ts"

let test_: TestDatabase
let server: FleetServer
const clock = new FakeClock(Date.now())

beforeAll(async () => {
  test_ = await createTestDatabase()
  server = await startFleetServer({ database: test_.database, clock, caFingerprint: "ab".repeat(32) })
})
afterAll(async () => {
  await server.stop()
  await test_.drop()
})

interface MadeKey {
  id: string
  key: string
  command: string
  usesCount: number
  caFingerprint?: string
}

describe("X7: enrolment", () => {
  test("X7, X8: a new key tells the whole command, and only a hash of it is kept", async () => {
    const made = await server.call<MadeKey>("enrollment-keys.create", {})
    expect(made.key).toMatch(/^sbx_main_enk[0-9a-z]{26}_[0-9a-z]{52}$/)
    expect(made.command).toBe(
      `npx signalbox agent enroll --server https://signalbox.test:7777 --key ${made.key} --ca-fingerprint sha256:${"ab".repeat(32)}`,
    )
    const secret = made.key.slice(-52)
    const [found] = await test_.database.query<{ found: boolean }>(
      `select exists (select from enrollment_keys k where k::text like $1)
          or exists (select from outbox o where o::text like $1)
          or exists (select from idempotency i where i::text like $1) as found`,
      [`%${secret}%`],
    )
    expect(found).toEqual({ found: false })
  })

  test("X8: without TLS the command pins nothing", async () => {
    const plain = await startFleetServer({ database: test_.database, clock })
    const made = await plain.call<MadeKey>("enrollment-keys.create", {})
    expect(made.command).not.toContain("fingerprint")
    expect(made.caFingerprint).toBeUndefined()
    await plain.stop()
  })

  test("X7: a one-time code works once; the same machine may repeat its call", async () => {
    const key = await makeEnrollmentKey(server, { usesMax: 1 })
    const machine = new TestMachine()
    const first = await machine.enroll(server, key, { name: "one-time" })
    expect(await machine.enroll(server, key, { name: "one-time" })).toEqual(first)
    expect(await codeOf(new TestMachine().enroll(server, key))).toBe("fleet.enrollment-key-used-up")
    expect(await eventTypes(test_.database, first.node)).toEqual(["node.enrolled"])
  })

  test("X7: 64 machines that race for 10 uses: 10 get in", async () => {
    const made = await server.call<MadeKey>("enrollment-keys.create", { usesMax: 10 })
    const codes = await Promise.all(
      Array.from({ length: 64 }, () => codeOf(new TestMachine().enroll(server, made.key))),
    )
    expect(codes.filter((code) => code === "no error")).toHaveLength(10)
    expect(codes.filter((code) => code === "fleet.enrollment-key-used-up")).toHaveLength(54)
    const { items } = await server.call<{ items: MadeKey[] }>("enrollment-keys.list", {})
    expect(items.find((key) => key.id === made.id)).toMatchObject({ usesCount: 10, usesMax: 10 })
    const rows = await test_.database.query("select 1 from nodes where enrolled_with = $1", [made.id])
    expect(rows).toHaveLength(10)
  })

  test("X7: machines that race for one name: one gets it, and no use is lost", async () => {
    const made = await server.call<MadeKey>("enrollment-keys.create", { usesMax: 20 })
    const other = await makeEnrollmentKey(server, { usesMax: 20 })
    const codes = await Promise.all(
      Array.from({ length: 16 }, (_, index) =>
        codeOf(new TestMachine().enroll(server, index % 2 === 0 ? made.key : other, { name: "contested" })),
      ),
    )
    expect(codes.toSorted()).toEqual([...Array.from({ length: 15 }, () => "fleet.node-name-taken"), "no error"])
    const [sum] = await test_.database.query<{ uses: number }>(
      "select sum(uses_count)::int as uses from enrollment_keys where uses_max = 20",
    )
    expect(sum).toEqual({ uses: 1 })
  })

  test("X7: expired, revoked, unknown and foreign keys are refused, each with its code", async () => {
    const expired = await makeEnrollmentKey(server, { expiresIn: "1m" })
    clock.advance(60_000)
    expect(await codeOf(new TestMachine().enroll(server, expired))).toBe("fleet.enrollment-key-expired")
    const made = await server.call<MadeKey>("enrollment-keys.create", {})
    await server.call("enrollment-keys.revoke", { key: made.id })
    expect(await codeOf(new TestMachine().enroll(server, made.key))).toBe("identity.invalid-credentials")
    const wrongSecret = made.key.slice(0, -52) + "0".repeat(52)
    expect(await codeOf(new TestMachine().enroll(server, wrongSecret))).toBe("identity.invalid-credentials")
    const foreign = (await makeEnrollmentKey(server)).replace("_main_", "_other_")
    expect(await codeOf(new TestMachine().enroll(server, foreign))).toBe("identity.invalid-credentials")
    expect(await codeOf(server.call("enrollment-keys.revoke", { key: made.id }, { account: "other" }))).toBe(
      "fleet.enrollment-key-not-found",
    )
  })

  test("X7: an enrolment key opens nothing but enrolment", async () => {
    const key = await makeEnrollmentKey(server)
    expect(await codeOf(server.call("nodes.list", {}, { token: key }))).toBe("identity.permission-denied")
    expect(await codeOf(server.call("nodes.enroll", { name: "x", machineId: "m", publicKey: "k" }))).toBe(
      "identity.permission-denied",
    )
  })

  test("X7: the source range is checked, and a range that is none is refused", async () => {
    const inside = await makeEnrollmentKey(server, { sourceRanges: ["10.0.0.0/8", "127.0.0.0/8"] })
    expect(await codeOf(new TestMachine().enroll(server, inside))).toBe("no error")
    const outside = await makeEnrollmentKey(server, { sourceRanges: ["10.0.0.0/8", "2001:db8::/32"] })
    expect(await codeOf(new TestMachine().enroll(server, outside))).toBe("fleet.enrollment-source-refused")
    for (const range of ["10.0.0.0/33", "10.0.0", "example.org", "::1/129", "10.0.0.0/8/8", "10.0.0.0/"])
      expect(await codeOf(makeEnrollmentKey(server, { sourceRanges: [range] }))).toBe("request.invalid-input")
  })

  test("X7: a machine gets the key's tags, and its own only where the key allows them", async () => {
    const key = await makeEnrollmentKey(server, { tags: { env: "prod" }, tagsAllowed: ["role"] })
    const enrolled = await new TestMachine().enroll(server, key, { tags: { role: "web", env: "prod" } })
    expect(enrolled.tags).toEqual({ env: "prod", role: "web" })
    for (const tags of [{ env: "dev" }, { owner: "me" }])
      expect(await codeOf(new TestMachine().enroll(server, key, { tags }))).toBe("fleet.enrollment-tag-refused")
  })

  test("X7: one public key is one node; other spellings and other kinds of key don't help", async () => {
    const key = await makeEnrollmentKey(server)
    const machine = new TestMachine()
    await machine.enroll(server, key, { name: "first" })
    expect(await codeOf(machine.enroll(server, key, { name: "second" }))).toBe("fleet.public-key-taken")
    const spelled = { name: "second", machineId: "m", publicKey: ` ${machine.publicKey.replaceAll("=", "")}` }
    expect(await codeOf(server.call("nodes.enroll", spelled, { token: key }))).toBe("fleet.public-key-taken")
    for (const publicKey of ["", "AAAA", Buffer.from("garbage").toString("base64")])
      expect(await codeOf(server.call("nodes.enroll", { ...spelled, publicKey }, { token: key }))).toBe(
        "request.invalid-input",
      )
  })

  test("texts that can't be stored, and names that look like ids, are refused", async () => {
    const key = await makeEnrollmentKey(server, { tagsAllowed: ["role"] })
    const machine = new TestMachine()
    for (const more of [{ tags: { role: "a\0b" } }, { tags: { role: "\ud800" } }, { name: `nod_${"0".repeat(26)}` }])
      expect(await codeOf(machine.enroll(server, key, more))).toBe("request.invalid-input")
    expect(await codeOf(makeEnrollmentKey(server, { name: "a\0" }))).toBe("request.invalid-input")
    expect(await codeOf(server.call("enrollment-keys.revoke", { key: "\0" }))).toBe("request.invalid-input")
  })

  test("the same call again, by its Idempotency-Key, enrols once", async () => {
    const key = await makeEnrollmentKey(server, { usesMax: 1 })
    const machine = new TestMachine()
    const input = { name: "idempotent", machineId: machine.machineId, publicKey: machine.publicKey }
    const options = { token: key, idempotencyKey: randomUUID() }
    const first = await server.call("nodes.enroll", input, options)
    expect(await server.call("nodes.enroll", input, options)).toEqual(first)
  })

  test("keys are listed the newest first, in pages", async () => {
    const ids: string[] = []
    for (let count = 0; count < 5; count++) {
      clock.advance(1)
      ids.unshift((await server.call<MadeKey>("enrollment-keys.create", {}, { account: "paged" })).id)
    }
    const seen: string[] = []
    let cursor: string | undefined
    do {
      const page = await server.call<{ items: MadeKey[]; nextCursor?: string }>(
        "enrollment-keys.list",
        { limit: 2, ...(cursor ? { cursor } : {}) },
        { account: "paged" },
      )
      seen.push(...page.items.map((item) => item.id))
      cursor = page.nextCursor
    } while (cursor)
    expect(seen).toEqual(ids)
  })
})
