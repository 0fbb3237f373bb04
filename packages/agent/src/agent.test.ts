import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { type RunningAgent, startAgent } from "./agent.ts"
import { agentRunLimits, type AgentRunLimits } from "./agent-limits.ts"
import { pauseAfter } from "./backoff.ts"
import { eventually, makeMachine, newKey, orderOf, shell, type TestMachine } from "./protocol-server.fixture.ts"

const limits = {
  backoffMillisecondsMin: 20,
  backoffMillisecondsMax: 100,
  refusedBackoffMillisecondsMin: 20,
  refusedBackoffMillisecondsMax: 100,
  terminateGraceMilliseconds: 300,
  resendIntervalMilliseconds: 200,
  outputFlushMilliseconds: 20,
}

let machine: TestMachine
let agent: RunningAgent

async function start(over: Partial<AgentRunLimits> = {}): Promise<RunningAgent> {
  const { dataDirectory, root } = machine
  return await startAgent({ dataDirectory, root, limits: { ...limits, ...over } })
}

beforeEach(async () => {
  machine = await makeMachine()
  agent = await start()
  await machine.server.session()
})

afterEach(async () => {
  await agent.stop()
  await machine.remove()
})

const inRoot = (path: string) => join(machine.root, path)

describe("running a task", () => {
  test("runs the steps in the root and reports each stage and the output", async () => {
    const { server } = machine
    const key = newKey()
    server.start(
      key,
      orderOf([
        shell("pwd; echo $SIGNALBOX_ROOT; echo grüße >&2", { environment: { A: "1" } }),
        shell("echo $A$B", { environment: { B: "2" } }),
      ]),
    )
    const outcome = await server.finished(key)
    expect(outcome.state).toBe("succeeded")
    expect(outcome.steps.map(({ state, exitCode, attempts }) => ({ state, exitCode, attempts }))).toEqual([
      { state: "succeeded", exitCode: 0, attempts: 1 },
      { state: "succeeded", exitCode: 0, attempts: 1 },
    ])
    expect(outcome.steps[0]?.stdout?.head).toBe(`${machine.root}\n${machine.root}\n`)
    expect(outcome.steps[0]?.stderr).toEqual({ head: "grüße\n", tail: "", bytes: 8, truncated: false })
    expect(outcome.steps[1]?.stdout?.head).toBe("2\n")
    // It began at once, which says that it was accepted.
    expect(server.count("accepted", key)).toBe(0)
    expect(server.count("started", key)).toBe(1)
    expect(server.all("progress").map(({ step, percent }) => [step, percent])).toEqual([
      [0, 0],
      [1, 50],
    ])
    expect(
      server
        .all("output")
        .filter(({ stream }) => stream === "stderr")
        .map(({ text }) => text)
        .join(""),
    ).toBe("grüße\n")
  })

  test("stops at the first step that fails and leaves the rest", async () => {
    const key = newKey()
    machine.server.start(key, orderOf([shell("exit 3"), shell("touch never")]))
    const outcome = await machine.server.finished(key)
    expect(outcome).toMatchObject({ state: "failed", class: "command", message: 'step "step" exited with 3' })
    expect(outcome.steps.map(({ state }) => state)).toEqual(["failed", "not-run"])
    expect(existsSync(inRoot("never"))).toBe(false)
  })

  test("a repeated order never runs twice and is answered from the journal at every stage", async () => {
    const { server } = machine
    server.acknowledges = false
    const key = newKey()
    const order = orderOf([shell("echo run >> runs; while [ ! -e go ]; do sleep 0.02; done")])
    server.start(key, order)
    await server.until(() => server.count("started", key) === 1)
    server.start(key, order)
    await server.until(() => server.count("started", key) === 2)
    writeFileSync(inRoot("go"), "")
    await server.finished(key)
    const before = server.all("task-finished").length
    server.start(key, order)
    await server.until(() => server.all("task-finished").length > before)
    expect(readFileSync(inRoot("runs"), "utf8")).toBe("run\n")
  })

  test("keeps one task at a time, refuses above the queue's limit", async () => {
    const { server } = machine
    await agent.stop()
    agent = await start({ queueMax: 2 })
    await server.session(2)
    const keys = Array.from({ length: 4 }, () => newKey())
    const order = orderOf([shell("mkdir busy && while [ ! -e go ]; do sleep 0.02; done; rmdir busy")])
    server.start(keys[0] ?? "", order)
    await server.until(() => server.count("started", keys[0] ?? "") === 1)
    for (const key of keys.slice(1)) server.start(key, order)
    expect(await server.finished(keys[3] ?? "")).toMatchObject({ state: "failed", class: "refused" })
    writeFileSync(inRoot("go"), "")
    for (const key of keys.slice(0, 3)) expect((await server.finished(key)).state).toBe("succeeded")
  })

  test("refuses an order that comes after its startBefore, by the server's clock", async () => {
    const { server } = machine
    server.clockAhead = 3_600_000
    server.cut()
    await server.session(2)
    const late = newKey()
    server.start(late, orderOf([shell("touch late")]), -5_000)
    expect(await server.finished(late)).toMatchObject({ state: "failed", class: "refused" })
    const timely = newKey()
    server.start(timely, orderOf([shell("touch timely")]), 30_000)
    expect((await server.finished(timely)).state).toBe("succeeded")
    expect(existsSync(inRoot("late"))).toBe(false)
  })

  test("retries a step as often as it says", async () => {
    const key = newKey()
    machine.server.start(
      key,
      orderOf([shell("echo x >> tries; [ $(wc -l < tries) = 3 ]", { attemptsMax: 5, retryDelayMilliseconds: 10 })]),
    )
    const outcome = await machine.server.finished(key)
    expect(outcome).toMatchObject({ state: "succeeded", steps: [{ attempts: 3 }] })
  })

  test("a task over its own time is stopped", async () => {
    const key = newKey()
    machine.server.start(key, orderOf([shell("sleep 60"), shell("true")], [], 200))
    expect(await machine.server.finished(key)).toMatchObject({
      state: "failed",
      class: "timeout",
      steps: [{ state: "timed-out" }, { state: "not-run" }],
    })
  })
})

describe("the user of a step", () => {
  const isRoot = process.geteuid?.() === 0

  test("another one needs root, has its own home, and none of root's groups", async () => {
    const key = newKey()
    machine.server.start(
      key,
      orderOf([shell("id -u; id -G; echo $HOME; echo $USER", { user: "nobody", directory: "/" })]),
    )
    const outcome = await machine.server.finished(key)
    if (!isRoot && process.geteuid?.() !== 65_534)
      return expect(outcome).toMatchObject({ state: "failed", class: "refused" })
    if (isRoot) expect(outcome.steps[0]?.stdout?.head).toMatch(/^(\d+)\n\d+\n\/\w+\nnobody\n$/)
    expect(outcome.steps[0]?.stdout?.head.startsWith("0\n")).toBe(false)
  })

  test("one that doesn't exist is refused before anything runs", async () => {
    const key = newKey()
    machine.server.start(key, orderOf([shell("touch never"), shell("true", { user: "no-such-user" })]))
    expect(await machine.server.finished(key)).toMatchObject({ state: "failed", class: "refused" })
    expect(existsSync(inRoot("never"))).toBe(false)
  })
})

describe("kill", () => {
  test("stops a running task with all its processes", async () => {
    const { server } = machine
    const key = newKey()
    server.start(key, orderOf([shell("sleep 300 & echo $! > child; wait"), shell("true")]))
    const child = await eventually(
      () => existsSync(inRoot("child")) && (readFileSync(inRoot("child"), "utf8").trim() || false),
    )
    server.send({ type: "kill", key, reason: "stopped by a person" })
    expect(await server.finished(key)).toMatchObject({
      state: "aborted",
      message: "stopped by a person",
      steps: [{ state: "killed" }, { state: "not-run" }],
    })
    await eventually(() => !existsSync(`/proc/${child}`))
  })

  test("before the start makes a late start refused", async () => {
    const { server } = machine
    const key = newKey()
    server.send({ type: "kill", key, reason: "taken back" })
    server.start(key, orderOf([shell("touch never")]))
    expect(await server.finished(key)).toMatchObject({
      state: "aborted",
      class: "refused",
      message: "not started: taken back",
    })
    expect(existsSync(inRoot("never"))).toBe(false)
  })

  test("D14: of an attempt that never came is answered at once, and for good", async () => {
    const { server } = machine
    const key = newKey()
    server.send({ type: "kill", key, reason: "the execution was aborted" })
    const barred = { state: "aborted", class: "refused", message: "not started: the execution was aborted", steps: [] }
    expect(await server.finished(key)).toEqual(barred)
    await agent.stop()
    const sessions = server.sessions
    agent = await start()
    await server.session(sessions + 1)
    const answers = server.all("task-finished").length
    server.start(key, orderOf([shell("touch never")]))
    await server.until(() => server.all("task-finished").length > answers)
    expect(server.all("task-finished").at(-1)?.outcome).toEqual(barred)
    server.send({ type: "rollback", key })
    expect(await server.rolledBack(key)).toMatchObject({ state: "rolled-back", restored: 0 })
    expect(existsSync(inRoot("never"))).toBe(false)
  })
})

describe("results", () => {
  test("are sent again until they are acknowledged, over a server's death", async () => {
    const { server } = machine
    server.acknowledges = false
    const key = newKey()
    server.start(key, orderOf([shell("while [ ! -e go ]; do sleep 0.02; done")]))
    await server.until(() => server.count("started", key) === 1)
    await server.close()
    writeFileSync(inRoot("go"), "")
    await server.listen()
    await server.session(2)
    await server.until(() => server.all("task-finished").length >= 2)
    server.send({ type: "acknowledge", key, phase: "task" })
    // Orders are taken in their sequence, so this answer comes after the acknowledgement.
    const other = newKey()
    server.start(other, orderOf([shell("true")]))
    await server.until(() => server.all("task-finished").some((frame) => frame.key === other))
    const sent = server.all("task-finished").filter((frame) => frame.key === key).length
    await server.until(() => server.all("task-finished").filter((frame) => frame.key === other).length >= 3)
    expect(server.all("task-finished").filter((frame) => frame.key === key).length).toBe(sent)
    server.cut()
    await server.session(3)
    expect(server.all("hello").at(-1)?.open).toEqual([{ key: other, phase: "task", state: "finished" }])
  })

  test("a step that floods its output costs no memory and does not block", async () => {
    const key = newKey()
    const before = process.memoryUsage().rss
    machine.server.start(
      key,
      orderOf([shell("head -c 100000000 /dev/zero | tr '\\0' 'x'; printf end", { outputKeptBytes: 1000 })]),
    )
    const outcome = await machine.server.finished(key)
    expect(outcome.steps[0]?.stdout).toMatchObject({ bytes: 100_000_003, truncated: true })
    expect(outcome.steps[0]?.stdout?.tail.endsWith("xend")).toBe(true)
    expect(outcome.steps[0]?.stdout?.head).toBe("x".repeat(500))
    expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000)
    const shown = machine.server.all("output").reduce((sum, { text }) => sum + text.length, 0)
    expect(shown).toBeLessThan(10_000_000)
  })
})

describe("rollback", () => {
  test("W6: puts saved files back, then undoes the steps that ran from the last", async () => {
    const { server } = machine
    writeFileSync(inRoot("app.conf"), "old\n", { mode: 0o640 })
    const key = newKey()
    const undo = (name: string) => ({ name, undo: { shell: `echo ${name}:$(cat app.conf) >> undone` } })
    server.start(
      key,
      orderOf(
        [
          shell("echo new > app.conf; echo x > added", undo("one")),
          shell("false", undo("two")),
          shell("true", undo("three")),
        ],
        ["app.conf", "/added"],
      ),
    )
    expect((await server.finished(key)).state).toBe("failed")
    expect(readFileSync(inRoot("app.conf"), "utf8")).toBe("new\n")
    server.send({ type: "rollback", key })
    const outcome = await server.rolledBack(key)
    expect(outcome).toMatchObject({ state: "rolled-back", restored: 2 })
    expect(outcome.undone.map(({ name }) => name)).toEqual(["two", "one"])
    expect(readFileSync(inRoot("app.conf"), "utf8")).toBe("old\n")
    expect(existsSync(inRoot("added"))).toBe(false)
    expect(readFileSync(inRoot("undone"), "utf8")).toBe("two:old\none:old\n")
    server.send({ type: "rollback", key })
    await server.until(() => server.all("rollback-finished").length === 2)
    expect(readFileSync(inRoot("undone"), "utf8")).toBe("two:old\none:old\n")
  })

  test("works after the agent was started again", async () => {
    const { server } = machine
    writeFileSync(inRoot("app.conf"), "old\n")
    const key = newKey()
    server.start(key, orderOf([shell("echo new > app.conf")], ["app.conf"]))
    expect((await server.finished(key)).state).toBe("succeeded")
    await agent.stop()
    agent = await start()
    await server.session(2)
    server.send({ type: "rollback", key })
    expect((await server.rolledBack(key)).state).toBe("rolled-back")
    expect(readFileSync(inRoot("app.conf"), "utf8")).toBe("old\n")
  })

  test("says so where nothing was saved and nothing can be undone", async () => {
    const { server } = machine
    const key = newKey()
    server.start(key, orderOf([shell("true")]))
    await server.finished(key)
    server.send({ type: "rollback", key })
    expect((await server.rolledBack(key)).state).toBe("not-reversible")
  })

  test("of an attempt that never came is unknown, and its late start is refused", async () => {
    const { server } = machine
    const key = newKey()
    server.send({ type: "rollback", key })
    expect((await server.rolledBack(key)).state).toBe("unknown")
    server.start(key, orderOf([shell("touch never")]))
    expect((await server.finished(key)).state).toBe("aborted")
    expect(existsSync(inRoot("never"))).toBe(false)
  })

  test("of an order that still waits takes the order back", async () => {
    const { server } = machine
    const [busy, waiting] = [newKey(), newKey()]
    server.start(busy, orderOf([shell("while [ ! -e go ]; do sleep 0.02; done")]))
    server.start(waiting, orderOf([shell("touch never")], ["never"]))
    await server.until(() => server.count("accepted", waiting) === 1)
    server.send({ type: "rollback", key: waiting })
    expect((await server.finished(waiting)).state).toBe("aborted")
    writeFileSync(inRoot("go"), "")
    expect(await server.rolledBack(waiting)).toMatchObject({ state: "rolled-back", restored: 0 })
    expect(existsSync(inRoot("never"))).toBe(false)
  })

  test("paths that lead out of the root and special files are refused before anything runs", async () => {
    const { server } = machine
    const refusals = [["../x"], ["/proc/../../etc/passwd"], ["pipe"], ["out/passwd"]]
    const prepare = newKey()
    server.start(prepare, orderOf([shell("mkfifo pipe; ln -s /etc out")]))
    await server.finished(prepare)
    for (const save of refusals) {
      const key = newKey()
      server.start(key, orderOf([shell("touch never")], save))
      expect(await server.finished(key), save.join()).toMatchObject({
        state: "failed",
        class: "refused",
        steps: [{ state: "not-run" }],
      })
    }
    expect(existsSync(inRoot("never"))).toBe(false)
  })
})

describe("session", () => {
  test("is tried again for ever: after a refusal, a cut, and frames that make no sense", async () => {
    const { server } = machine
    server.refuseWith = 403
    server.cut()
    await server.until(() => server.refusals >= 3)
    server.refuseWith = undefined
    await server.session(2)
    for (const text of ["{", "[]", '{"type":"start"}', '{"type":"unheard-of"}', "x".repeat(100_000)])
      server.sendText(text)
    server.send({ type: "refused", code: "fleet.node-held", message: "two machines use this key" })
    await server.session(3)
    const key = newKey()
    server.start(key, orderOf([shell("true")]))
    expect((await server.finished(key)).state).toBe("succeeded")
  })

  test("carries heartbeats", async () => {
    await machine.server.frame("heartbeat")
  })

  test("sends the inventory when it is new or asked for, not with each session", async () => {
    const { server } = machine
    await server.frame("inventory")
    server.cut()
    await server.session(2)
    const key = newKey()
    server.start(key, orderOf([shell("true")]))
    await server.finished(key)
    await server.frame("heartbeat", () => server.sessions === 2)
    expect(server.all("inventory").length).toBe(1)
    server.send({ type: "collect-inventory" })
    await server.until(() => server.all("inventory").length === 2)
  })

  test("a second agent on the same directory is refused", async () => {
    await expect(start()).rejects.toMatchObject({ code: "agent.already-running" })
  })

  test("the agent's end reports the running task as interrupted and stops it", async () => {
    const { server } = machine
    const key = newKey()
    server.start(key, orderOf([shell("echo $$ > pid; sleep 300")]))
    const pid = await eventually(
      () => existsSync(inRoot("pid")) && (readFileSync(inRoot("pid"), "utf8").trim() || false),
    )
    await agent.stop()
    expect(await server.finished(key)).toMatchObject({
      state: "interrupted",
      class: "interrupted",
      steps: [{ state: "killed" }],
    })
    expect(existsSync(`/proc/${pid}`)).toBe(false)
    agent = await start()
  })
})

describe("after a session", () => {
  test("that was good, or whose server says that it goes away, the next comes within a second, at a random time", () => {
    const pause = (ending: "lost" | "leaving" | "refused", failures: number, fraction: number) =>
      pauseAfter({ ending, failures }, agentRunLimits, fraction)
    expect([0, 0.5, 0.999].map((fraction) => pause("leaving", 0, fraction))).toEqual([200, 600, 999])
    expect(pause("lost", 0, 0.5)).toBe(600)
    expect(pause("lost", 30, 0.999)).toBeGreaterThan(25_000)
    expect(pause("refused", 1, 0)).toBe(2_000)
  })

  test("a server that restarts time and again is come back to without the backoff growing", async () => {
    const { server } = machine
    await agent.stop()
    agent = await start({ backoffMillisecondsMin: 10, reconnectMillisecondsMax: 20, backoffMillisecondsMax: 60_000 })
    await server.session(2)
    for (let session = 3; session <= 18; session++) {
      server.leave()
      await server.session(session)
    }
  })
})
