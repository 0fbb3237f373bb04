import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { agentRunLimits, type AgentRunLimits } from "./agent-limits.ts"
import { savedDirectory } from "./attempt-context.ts"
import { Journal } from "./journal.ts"
import { newKey, orderOf, shell } from "./protocol-server.fixture.ts"
import { pruneAttempts, type RetentionContext } from "./retention.ts"

let dataDirectory: string
let journal: Journal
let now = 0
const clock = { now: () => now }

beforeEach(async () => {
  dataDirectory = mkdtempSync(join(tmpdir(), "signalbox retention "))
  mkdirSync(join(dataDirectory, "saved"))
  journal = await Journal.open(join(dataDirectory, "journal"), clock)
})
afterEach(() => rmSync(dataDirectory, { recursive: true, force: true }))

function contextWith(limits: Partial<AgentRunLimits>): RetentionContext {
  return {
    ...{ dataDirectory, journal, clock },
    limits: { ...agentRunLimits, ...limits },
    serverNow: () => now,
  }
}

async function addAttempt(options: {
  acknowledged: boolean
  startBefore?: number
  savedBytes?: number
  keepMilliseconds?: number
}): Promise<string> {
  const key = newKey()
  now++
  await journal.append(key, {
    type: "accepted",
    phase: "task",
    startBefore: options.startBefore ?? 0,
    order: {
      ...orderOf([shell("true")]),
      ...(options.keepMilliseconds !== undefined && { keepMilliseconds: options.keepMilliseconds }),
    },
  })
  await journal.append(key, { type: "started", phase: "task", savedBytes: options.savedBytes ?? 0 })
  await journal.append(key, { type: "finished", phase: "task", outcome: { state: "succeeded", steps: [] } })
  if (options.acknowledged) await journal.append(key, { type: "acknowledged", phase: "task" })
  mkdirSync(savedDirectory({ dataDirectory }, key))
  return key
}

test("keeps what the server doesn't know yet, and what a late copy of the order could start again", async () => {
  const [old, open, late, young] = [
    await addAttempt({ acknowledged: true }),
    await addAttempt({ acknowledged: false }),
    await addAttempt({ acknowledged: true, startBefore: 1e15 }),
    await addAttempt({ acknowledged: true }),
  ]
  await pruneAttempts(contextWith({ attemptsKeptMax: 3 }))
  expect([old, open, late, young].map((key) => journal.find(key) !== undefined)).toEqual([false, true, true, true])
  now += 1e9
  await pruneAttempts(contextWith({ attemptKeptMilliseconds: 1000 }))
  expect([old, open, late, young].map((key) => journal.find(key) !== undefined)).toEqual([false, true, true, false])
  expect(readdirSync(join(dataDirectory, "saved")).length).toBe(2)
})

test("over the disk's limit the oldest saved files go first, and the record stays", async () => {
  const keys = [1, 2, 3].map(() => addAttempt({ acknowledged: true, savedBytes: 10 }))
  const [first = "", second = "", third = ""] = await Promise.all(keys)
  mkdirSync(join(dataDirectory, "saved", "stray"))
  await pruneAttempts(contextWith({ savedBytesTotalMax: 20 }))
  const kept = [first, second, third].filter((key) => existsSync(savedDirectory({ dataDirectory }, key)))
  expect(kept.length).toBe(2)
  expect(journal.size).toBe(3)
  expect(existsSync(join(dataDirectory, "saved", "stray"))).toBe(false)
})

test("what a later rollback may want outlives age and count, and goes when its time is over", async () => {
  const kept = await addAttempt({ acknowledged: true, savedBytes: 10, keepMilliseconds: 1_000 })
  const other = await addAttempt({ acknowledged: true, savedBytes: 10 })
  now += 500
  await pruneAttempts(contextWith({ attemptKeptMilliseconds: 100, attemptsKeptMax: 0 }))
  expect([journal.find(kept) !== undefined, journal.find(other)]).toEqual([true, undefined])
  expect(existsSync(savedDirectory({ dataDirectory }, kept))).toBe(true)
  now += 500
  await pruneAttempts(contextWith({}))
  expect(journal.find(kept)).toBeDefined()
  expect(existsSync(savedDirectory({ dataDirectory }, kept))).toBe(false)
})

test("what is kept for a later rollback is bounded: the oldest goes first", async () => {
  const keys = []
  for (let count = 0; count < 3; count++) {
    keys.push(await addAttempt({ acknowledged: true, savedBytes: 10, keepMilliseconds: 1_000_000 }))
  }
  await pruneAttempts(contextWith({ savedBytesTotalMax: 20 }))
  expect(keys.map((key) => existsSync(savedDirectory({ dataDirectory }, key)))).toEqual([false, true, true])
  await pruneAttempts(contextWith({ attemptsHeldMax: 1, attemptsKeptMax: 0 }))
  expect(keys.map((key) => journal.find(key) !== undefined)).toEqual([false, false, true])
})
