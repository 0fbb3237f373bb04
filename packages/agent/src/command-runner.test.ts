import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { agentRunLimits } from "./agent-limits.ts"
import { type CommandResult, type CommandRun, runCommand } from "./command-runner.ts"
import { eventually } from "./protocol-server.fixture.ts"

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "signalbox command "))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const limits = { ...agentRunLimits, terminateGraceMilliseconds: 300, outputDrainMilliseconds: 100 }

async function run(shell: string, over: Partial<CommandRun> = {}): Promise<CommandResult> {
  return await runCommand({
    ...{ command: { shell }, directory, limits, timeoutMilliseconds: 10_000, outputKeptBytes: 1000 },
    environment: { PATH: "/usr/bin:/bin" },
    stop: new AbortController().signal,
    ...over,
  })
}

const pidIn = (file: string) => existsSync(join(directory, file)) && readFileSync(join(directory, file), "utf8").trim()
const isRunning = (pid: string) => {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.[0] !== "Z"
  } catch {
    return false
  }
}

describe("runCommand", () => {
  test("passes words as they are, without a shell", async () => {
    const result = await run("", { command: { argv: ["printf", "%s|", "a b", "$HOME", "*"] } })
    expect(result).toMatchObject({ state: "succeeded", exitCode: 0, stdout: { head: "a b|$HOME|*|" } })
  })

  test("gives a command no more environment than it is told", async () => {
    const result = await run("", { command: { argv: ["/usr/bin/env"] }, environment: { ONLY: "this" } })
    expect(result.stdout.head).toBe("ONLY=this\n")
  })

  test.each([
    ["a program that doesn't exist", { argv: ["no-such-program"] }, "no such program"],
    ["a file that isn't executable", { argv: ["/etc/passwd"] }, "closed to this user"],
    ["an argument with a NUL", { argv: ["echo", "a\0b"] }, "null bytes"],
  ])("%s is a failed command with a reason", async (_title, command, reason) => {
    const result = await run("", { command })
    expect(result.state).toBe("failed")
    expect(result.message).toContain(reason)
  })

  test("a directory that doesn't exist is a failed command with a reason", async () => {
    const result = await run("true", { directory: join(directory, "missing") })
    expect(result).toMatchObject({ state: "failed", message: expect.stringContaining("directory doesn't exist") })
  })

  test("a signal from elsewhere is reported", async () => {
    expect(await run("kill -KILL $$")).toMatchObject({ state: "failed", signal: "SIGKILL" })
  })

  test("over its timeout the whole group is ended: politely, then surely", async () => {
    const result = await run("trap '' TERM; sleep 300 & echo $! > child; echo begun; while true; do sleep 300; done", {
      timeoutMilliseconds: 300,
    })
    expect(result).toMatchObject({ state: "timed-out", signal: "SIGKILL", stdout: { head: "begun\n" } })
    await eventually(() => !isRunning(pidIn("child") || ""))
  })

  test("within the grace a process may end in its own way", async () => {
    const result = await run("trap 'echo bye; exit 7' TERM; while true; do sleep 0.05; done", {
      timeoutMilliseconds: 200,
    })
    expect(result).toMatchObject({ state: "timed-out", exitCode: 7, stdout: { head: "bye\n" } })
  })

  test("stopping it ends it", async () => {
    const stop = new AbortController()
    const result = await run("sleep 300", { stop: stop.signal, onProcess: () => stop.abort() })
    expect(result.state).toBe("killed")
  })

  test.each([
    ["with &", "sleep 300 & echo $! > child"],
    ["with nohup", "nohup sleep 300 > log 2>&1 & echo $! > child"],
    ["with setsid", "setsid sleep 300 & echo $! > child"],
  ])("a service started %s neither hangs the step nor is ended", async (_title, command) => {
    const began = performance.now()
    const result = await run(command)
    expect(result.state).toBe("succeeded")
    expect(performance.now() - began).toBeLessThan(5_000)
    const pid = await eventually(() => pidIn("child"))
    expect(isRunning(pid)).toBe(true)
    process.kill(Number(pid), "SIGKILL")
  })

  test("a service that still writes to the step's output lives on, and the result says so", async () => {
    const result = await run("(while true; do echo tick; echo tick >> ticks; sleep 0.02; done) & echo $! > child")
    expect(result).toMatchObject({ state: "succeeded", message: expect.stringContaining("redirect it") })
    const pid = await eventually(() => pidIn("child"))
    const ticks = () => (pidIn("ticks") || "").length
    const before = ticks()
    await eventually(() => ticks() > before + 50)
    process.kill(Number(pid), "SIGKILL")
  })

  test("all output is there when the command ends, even a late burst", async () => {
    const result = await run("head -c 3000000 /dev/zero | tr '\\0' y; echo done >&2")
    expect(result).toMatchObject({ stdout: { bytes: 3_000_000 }, stderr: { head: "done\n" } })
  })
})
