/** Signals of a real agent: what it measures, when that is told, and that neither restarts nor kills tell it again. */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { eventsList } from "@signalbox/contracts/audit/operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { signalsStates } from "@signalbox/contracts/triggers/signals"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { TestInstallation } from "./processes.fixture.ts"

const timeoutMilliseconds = 600_000
const stepMilliseconds = 120_000
const node = "web-1"

type State = OutputOf<typeof signalsStates>["items"][number]

const documents = `kind: Signal
name: level
metric: { command: cat level }
raise: { above: 90 }
clear: { below: 70 }
every: 5s
---
kind: Signal
name: load
metric: { load: true }
raise: { above: -1 }
every: 5s
---
kind: Signal
name: disk
metric: { disk: / }
raise: { above: -1 }
every: 5s
---
kind: Signal
name: memory
metric: { memory: true }
raise: { above: -1 }
every: 5s
---
kind: Signal
name: folder
metric: { disk: /no-such-folder }
raise: { above: -1 }
every: 5s
`

let installation: TestInstallation
beforeAll(async () => {
  installation = await TestInstallation.create()
  await installation.startServer()
  await installation.addNodes([node])
  await level("50")
  await writeFile(join(installation.directory, "signals.yaml"), documents)
  await installation.succeed(["login", "--local", "--data", installation.data])
  await installation.succeed(["apply", "-f", "signals.yaml"])
}, timeoutMilliseconds)
afterAll(() => installation.remove(), timeoutMilliseconds)

const level = (text: string): Promise<void> => writeFile(join(installation.node(node).root, "level"), `${text}\n`)

async function stateOf(name: string): Promise<State | undefined> {
  const { items } = await installation.client.call(signalsStates, { name })
  return items[0]
}

/** Waits until the server knows this of the node. */
const until = (name: string, what: string, fits: (state: State) => boolean): Promise<State> =>
  installation.eventually(
    `${name}: ${what}`,
    async () => {
      const state = await stateOf(name)
      return state && fits(state) ? state : undefined
    },
    stepMilliseconds,
  )

/** Writes a figure into the node's file, and waits until the server has taken it and its state is this one. */
async function say(value: number, state: "clear" | "raised"): Promise<State> {
  await level(String(value))
  return await until("level", `${state} at ${value}`, (each) => each.latest?.value === value && each.state === state)
}

async function told(): Promise<string[]> {
  const { items } = await installation.client.call(eventsList, { type: "signal.*" })
  return items
    .filter(({ type, data }) => data["signal"] === "level" && /raised|cleared/.test(type))
    .map(({ type, data }) => `${type} ${String(data["node"])} ${String(data["value"])}`)
}

/** Events may be seen a moment after the state that they are about. */
async function expectTold(events: readonly string[]): Promise<void> {
  await installation.eventually("the events to be seen", async () => (await told()).length >= events.length)
  expect(await told()).toEqual(events)
}

describe("R5, R13: signals of a real agent", () => {
  test(
    "it measures load, disk and memory, and says why where there is no figure",
    async () => {
      const load = await until("load", "a figure", ({ latest }) => latest?.value !== undefined)
      expect(load).toMatchObject({ node, state: "raised" })
      expect(load.value).toBeGreaterThanOrEqual(0)
      for (const name of ["disk", "memory"]) {
        const { state, value } = await until(name, "a figure", ({ latest }) => latest?.value !== undefined)
        expect(state).toBe("raised")
        expect(value, name).toBeGreaterThan(0)
        expect(value, name).toBeLessThanOrEqual(100)
      }
      const folder = await until("folder", "a problem", ({ latest }) => latest?.problem !== undefined)
      expect(folder.latest?.problem).toMatch(/no-such-folder/)
      expect(folder.state).toBe("unknown")
    },
    timeoutMilliseconds,
  )

  test(
    "a command's number is told when it passes a threshold, and between the two thresholds never",
    async () => {
      await say(50, "clear")
      expect(await say(95, "raised")).toMatchObject({ value: 95 })
      expect(await say(80, "raised")).toMatchObject({ value: 95 })
      expect(await say(92, "raised")).toMatchObject({ value: 95 })
      await level("a lot")
      const { state, latest } = await until("level", "a problem", (each) => each.latest?.problem !== undefined)
      expect(state).toBe("raised")
      expect(latest?.problem).toBe('not available: the command printed no number: "a lot"')
      expect(await say(60, "clear")).toMatchObject({ value: 60 })
      expect(await say(85, "clear")).toMatchObject({ value: 60 })
      await expectTold([`signal.raised ${node} 95`, `signal.cleared ${node} 60`])
    },
    timeoutMilliseconds,
  )

  test(
    "a raised signal stays so, and is told once, though agent and server are killed and come back",
    async () => {
      const before = await told()
      const { since } = await say(99, "raised")
      const raised = [...before, `signal.raised ${node} 99`]
      await expectTold(raised)
      await installation.node(node).agent.end("SIGKILL")
      expect(await stateOf("level")).toMatchObject({ state: "raised", since })
      installation.restartAgent(node)
      expect(await say(98, "raised")).toMatchObject({ since, value: 99 })
      await installation.server.end("SIGKILL")
      await installation.startServer()
      expect(await stateOf("level")).toMatchObject({ state: "raised", since, value: 99 })
      expect(await say(97, "raised")).toMatchObject({ since, value: 99 })
      await expectTold(raised)
      expect(await say(10, "clear")).toMatchObject({ value: 10 })
      await expectTold([...raised, `signal.cleared ${node} 10`])
    },
    timeoutMilliseconds,
  )
})
