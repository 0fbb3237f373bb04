import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { Notifier } from "./notifier.ts"

describe("notices between servers", () => {
  let test: TestDatabase
  let sender: Notifier
  let receiver: Notifier
  beforeAll(async () => {
    test = await createTestDatabase(["storage"])
    sender = await Notifier.start(test.connection)
    receiver = await Notifier.start(test.connection)
  })
  afterAll(async () => {
    await sender.close()
    await receiver.close()
    await test.drop()
  })
  const wait = { timeout: 10_000, interval: 10 }

  it("D11: gathers what is sent together into few notices, each payload once", async () => {
    const notices: Array<readonly string[] | "missed"> = []
    const end = receiver.subscribe("gathered", (payloads) => notices.push(payloads))
    await vi.waitFor(() => {
      sender.notify("gathered", "probe")
      expect(notices.length).toBeGreaterThan(0)
    }, wait)
    notices.length = 0
    for (let n = 0; n < 1000; n++) sender.notify("gathered", `id_${n % 500}`)
    await vi.waitFor(() => expect(notices.flat().filter((id) => id !== "probe").length).toBe(500), wait)
    expect(notices.length).toBeLessThan(5)
    end()
  })

  it("connects again after a loss, tells listeners that they may have missed something, and delivers again", async () => {
    const notices: string[] = []
    receiver.subscribe("mended", (payloads) => notices.push(...(payloads === "missed" ? ["missed"] : payloads)))
    await vi.waitFor(() => {
      sender.notify("mended", "before")
      expect(notices).toContain("before")
    }, wait)
    await test.database.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and query ilike '%listen%' or query ilike '%pg_notify%' and pid <> pg_backend_pid()",
    )
    await vi.waitFor(() => expect(notices).toContain("missed"), wait)
    await vi.waitFor(() => {
      sender.notify("mended", "after")
      expect(notices).toContain("after")
    }, wait)
  })

  it("never throws at the sender", async () => {
    const closed = await Notifier.start(test.connection)
    await closed.close()
    expect(() => closed.notify("anything")).not.toThrow()
    expect(() => sender.notify("Bad Channel")).toThrow("no channel name")
  })
})
