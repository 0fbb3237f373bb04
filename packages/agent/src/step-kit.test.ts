import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { StepOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { makeNode, stepOf, taskOf, type TestNode } from "./step-kit.fixture.ts"

/**
 * The kit: each kind of step is run twice, failed after, killed in, undone and undone again; files and services are what
 * they were before.
 */
let node: TestNode
beforeEach(async () => {
  node = await makeNode()
})
afterEach(() => node.remove())

interface Case {
  readonly step: (node: TestNode) => StepOrder
  /** What a second run says of itself. */
  readonly changedAgain: boolean | undefined
  readonly undo?: "not-reversible"
}

const pathOf = ({ base }: TestNode) => ({ PATH: `${base}/bin:${process.env["PATH"]}` })
const server = { server: "http" } as const

const cases: Readonly<Record<string, Case>> = {
  "a new file": {
    step: () => stepOf({ file: { path: "new/dir/file", content: "x", mode: 0o600 } }),
    changedAgain: false,
  },
  "a changed file": { step: () => stepOf({ file: { path: "etc/web.conf", content: "new" } }), changedAgain: false },
  "a file in place of a link": {
    step: () => stepOf({ file: { path: "srv/tree/link", content: "new" } }),
    changedAgain: false,
  },
  "a file's mode": {
    step: () => stepOf({ file: { path: "etc/web.conf", content: "old", mode: 0o604 } }),
    changedAgain: false,
  },
  "a new directory": { step: () => stepOf({ file: { path: "a/b", directory: true } }), changedAgain: false },
  "a directory's mode": {
    step: () => stepOf({ file: { path: "srv/tree", directory: true, mode: 0o711 } }),
    changedAgain: false,
  },
  "an absent file": { step: () => stepOf({ file: { path: "etc/web.conf", absent: true } }), changedAgain: false },
  "an absent tree": { step: () => stepOf({ file: { path: "srv/tree", absent: true } }), changedAgain: false },
  "a started service": { step: () => stepOf({ service: { name: "web", state: "started" } }), changedAgain: false },
  "a restarted service": { step: () => stepOf({ service: { name: "web", state: "restarted" } }), changedAgain: true },
  "a reloaded service": { step: () => stepOf({ service: { name: "web", state: "reloaded" } }), changedAgain: true },
  "an enabled service": { step: () => stepOf({ service: { name: "web", enabled: true } }), changedAgain: false },
  "a disabled service": { step: () => stepOf({ service: { name: "idle", enabled: false } }), changedAgain: false },
  "a command with an undo": {
    step: () => stepOf({ command: { shell: "echo 1 >> made" }, undo: { shell: "rm -f made" } }),
    changedAgain: undefined,
  },
  "a command without an undo": {
    step: () => stepOf({ command: { shell: "true" } }),
    changedAgain: undefined,
    undo: "not-reversible",
  },
  "a wait": { step: () => stepOf({ wait: { milliseconds: 1 } }), changedAgain: false },
  "a playbook with an undo": {
    step: (at) =>
      stepOf({
        playbook: { content: "touch played", variables: { a: "b" }, tags: ["x"] },
        undo: { playbook: { content: "rm -f played", variables: {}, tags: [] } },
        environment: pathOf(at),
      }),
    changedAgain: true,
  },
  "a call with an undo": { step: () => stepOf({ ...server, undo: server }), changedAgain: undefined },
  "an approval": { step: () => stepOf({ server: "approval" }), changedAgain: undefined },
  "a call without an undo": { step: () => stepOf(server), changedAgain: undefined, undo: "not-reversible" },
}

describe.each(Object.entries(cases))("W6, the kit: %s", (_name, { step, changedAgain, undo }) => {
  const undone = undo ?? "rolled-back"

  test("runs twice, and is undone, and undone again", async () => {
    const before = node.look()
    const first = await node.run(taskOf([step(node)]))
    expect(first.outcome).toMatchObject({ state: "succeeded" })
    const between = node.look()
    const second = await node.run(taskOf([step(node)]))
    expect(second.outcome).toMatchObject({ state: "succeeded" })
    expect(second.outcome.steps[0]?.changed).toBe(changedAgain)
    for (let count = 0; count < 2; count++) {
      expect(await node.undo(second.key)).toMatchObject({ state: undone })
      if (undo === undefined && changedAgain === false) expect(node.look()).toEqual(between)
    }
    for (let count = 0; count < 2; count++) {
      expect(await node.undo(first.key)).toMatchObject({ state: undone })
      expect(node.look()).toEqual(before)
    }
  })

  test("is undone where a step after it fails", async () => {
    const before = node.look()
    const { key, outcome } = await node.run(
      taskOf([step(node), stepOf({ command: { shell: "exit 7" }, undo: { shell: "true" } })]),
    )
    expect(outcome).toMatchObject({ state: "failed", class: "command" })
    expect(await node.undo(key)).toMatchObject({ state: "rolled-back" })
    expect(node.look()).toEqual(before)
  })
})

const all = (at: TestNode): StepOrder[] => [
  stepOf({ service: { name: "web", state: "started", enabled: true } }),
  stepOf({ file: { path: "etc/web.conf", content: "new" } }),
  stepOf({ command: { shell: "echo 1 > made" }, undo: { shell: "rm -f made" } }),
  stepOf({ service: { name: "web", state: "restarted" } }),
  stepOf({ file: { path: "srv/tree", absent: true } }),
  stepOf({ file: { path: "srv/tree/again", content: "x" } }),
  stepOf({ ...server, undo: server }),
  stepOf({ service: { name: "web", state: "stopped" } }),
  stepOf({
    playbook: { content: "touch played", variables: {}, tags: [] },
    undo: { playbook: { content: "rm -f played", variables: {}, tags: [] } },
    environment: pathOf(at),
  }),
]

describe("W6, the kit: all kinds together", () => {
  const places = Array.from({ length: 10 }, (_, index) => index)

  test.each(places)("a failure before step %i: undone twice, all is as before", async (place) => {
    const before = node.look()
    const steps = all(node)
    steps.splice(place, 0, stepOf({ command: { shell: "echo half > half; exit 7" }, undo: { shell: "rm -f half" } }))
    const { key, outcome } = await node.run(taskOf(steps))
    expect(outcome.steps.map(({ state }) => state)).toEqual(
      steps.map((_step, index) => (index < place ? "succeeded" : index === place ? "failed" : "not-run")),
    )
    for (let count = 0; count < 2; count++) {
      expect(await node.undo(key)).toMatchObject({ state: "rolled-back" })
      expect(node.look()).toEqual(before)
    }
  })

  test.each(places)("a kill before step %i: undone, all is as before", async (place) => {
    const before = node.look()
    const steps = all(node)
    steps.splice(place, 0, stepOf({ wait: { milliseconds: 60_000 } }))
    const { key, outcome } = await node.run(taskOf(steps), {
      onStop: (stop) => {
        const { send } = node.context
        Object.assign(node.context, {
          send: (frame: Parameters<typeof send>[0]) => {
            if (frame.type === "progress" && frame.step === place) stop({ kind: "killed", message: "enough" })
            return send(frame)
          },
        })
      },
    })
    expect(outcome).toMatchObject({ state: "aborted", message: "enough" })
    expect(await node.undo(key)).toMatchObject({ state: "rolled-back" })
    expect(node.look()).toEqual(before)
  })

  test("a service that ran sees the old files after the undo", async () => {
    await node.run(taskOf([stepOf({ service: { name: "web", state: "started" } })]))
    const conf = () => readFileSync(join(node.base, "services/web.conf"), "utf8")
    expect(conf()).toBe("old")
    const { key } = await node.run(
      taskOf([
        stepOf({ file: { path: "etc/web.conf", content: "new" } }),
        stepOf({ service: { name: "web", state: "restarted" } }),
      ]),
    )
    expect(conf()).toBe("new")
    expect(await node.undo(key)).toMatchObject({ state: "rolled-back", restored: 1 })
    expect(conf()).toBe("old")
  })

  test("W6: what is not covered is listed, beside what was put back", async () => {
    const { key } = await node.run(
      taskOf([
        stepOf({ file: { path: "etc/web.conf", content: "new" } }),
        stepOf({ name: "careless", command: { shell: "echo >> log" } }),
        stepOf({ name: "far", ...server }),
      ]),
    )
    const outcome = await node.undo(key)
    expect(outcome).toMatchObject({
      state: "rolled-back",
      notCovered: ['what "careless" changed besides the saved paths', 'what the call of "far" changed elsewhere'],
    })
    expect(outcome.message).toContain("not covered")
    expect(existsSync(join(node.root, "log"))).toBe(true)
  })

  test("a service that doesn't exist, and a playbook without Ansible, are refused in plain words", async () => {
    const { outcome } = await node.run(taskOf([stepOf({ service: { name: "none", state: "started" } })]))
    expect(outcome).toMatchObject({ state: "failed", message: expect.stringContaining('no service "none"') })
    const environment = { PATH: join(node.base, "nothing") }
    const playbook = { content: "true", variables: {}, tags: [] }
    writeFileSync(join(node.base, "untouched"), "")
    const refused = await node.run(
      taskOf([stepOf({ command: { shell: "rm ../untouched" } }), stepOf({ playbook, environment })]),
    )
    expect(refused.outcome).toMatchObject({ state: "failed", class: "refused" })
    expect(refused.outcome.message).toContain("has no ansible-playbook")
    expect(existsSync(join(node.base, "untouched"))).toBe(true)
  })
})
