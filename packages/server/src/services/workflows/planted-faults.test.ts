import { fork, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { plantedFaults } from "./planted-faults.fixture.ts"

const program = fileURLToPath(new URL("planted-run.fixture.ts", import.meta.url))
const timeoutMilliseconds = 240_000
/** Whether a fault does harm may depend on which tasks a commit happens to hold: some runs get away with it. */
const playsMax = 5

describe("W9: the oracle over rows and nodes finds each fault that is planted in the way of a commit", () => {
  let database: TestDatabase
  let child: ChildProcess

  const play = async (told: object): Promise<string[]> => {
    const answer = once(child, "message")
    child.send(told)
    const [{ faults, error }] = (await answer) as [{ faults: string[]; error?: string }]
    if (error !== undefined) throw new Error(error)
    return faults
  }

  beforeAll(async () => {
    database = await createTestDatabase()
    child = fork(program, { execArgv: ["--conditions=source"] })
    await play({ connection: database.connection })
  }, timeoutMilliseconds)
  afterAll(async () => {
    const ended = once(child, "exit")
    child.disconnect()
    await ended
    await database.drop()
  })

  test.each(["resized", "aborted", "revived", "broken"])(
    "and nothing without one, in a run that is %s",
    async (story) => {
      expect(await play({ story })).toEqual([])
    },
    timeoutMilliseconds,
  )

  test.each(Object.entries(plantedFaults))(
    "%s",
    async (fault, { story, seen }) => {
      let told = ""
      for (let plays = 0; plays < playsMax && !seen.test(told); plays++)
        told = (await play({ fault, story })).join("\n")
      expect(told).toMatch(seen)
    },
    timeoutMilliseconds,
  )
})
