import { spawn } from "node:child_process"
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { takeLock } from "./agent-lock.ts"
import { identifyProcess } from "./process-identity.ts"

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "signalbox lock "))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

test("a second agent on the directory is told which process holds it", async () => {
  const lock = await takeLock(directory)
  await expect(takeLock(directory)).rejects.toMatchObject({
    code: "agent.already-running",
    message: expect.stringContaining(String(process.pid)),
  })
  await lock.release()
  await (await takeLock(directory)).release()
  expect(readdirSync(directory)).toEqual([])
})

test("of many at once exactly one gets it", async () => {
  const results = await Promise.allSettled(Array.from({ length: 10 }, () => takeLock(directory)))
  expect(results.filter(({ status }) => status === "fulfilled").length).toBe(1)
})

test("a lock of a process that is gone, of another start of the machine, or that is torn is replaced", async () => {
  const child = spawn("true")
  const { promise, resolve } = Promise.withResolvers<void>()
  child.once("exit", () => resolve())
  const gone = identifyProcess(child.pid ?? 0)
  await promise
  const stale = [
    gone,
    { ...identifyProcess(process.pid), startTime: "1" },
    { ...identifyProcess(process.pid), bootId: "other" },
  ]
  for (const text of [...stale.map((value) => JSON.stringify(value)), "", '{"pid":']) {
    writeFileSync(join(directory, "lock"), text)
    await (await takeLock(directory)).release()
  }
})
