import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { text } from "node:stream/consumers"
import { expect, test } from "vitest"

// These run the compiled program as people do: `npm test` compiles first.
const launcher = fileURLToPath(new URL("../bin/signalbox.js", import.meta.url))
const asOldNode = `data:text/javascript,Object.defineProperty(process.versions,"node",{value:"20.1.0"})`

async function run(words: readonly string[], options: { flags?: readonly string[]; cwd?: string } = {}) {
  const child = spawn(process.execPath, [...(options.flags ?? []), launcher, ...words], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"], XDG_CONFIG_HOME: "/nonexistent" },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")])
  return { stdout, stderr, code: code as number | null }
}

test("--version is answered without loading anything", async () => {
  expect(await run(["--version"])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    stderr: "",
  })
})

test("under an old Node the pinned one takes over, with words, output and exit code", async () => {
  const result = await run(["contexts", "use", "two words"], { flags: ["--import", asOldNode] })
  expect(result).toMatchObject({ code: 2, stdout: "" })
  expect(result.stderr).toContain('there is no stored login "two words"')
})

test("a reader that leaves early is no error", async () => {
  const child = spawn(process.execPath, [launcher, "help", "exit-codes"], { stdio: ["ignore", "pipe", "pipe"] })
  child.stdout.destroy()
  const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, "exit")])
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 })
})

test("a failure has no stack trace unless it is asked for", async () => {
  const words = ["nodes", "--server", "http://127.0.0.1:1", "--key", "x"]
  const result = await run(words)
  expect(result.code).toBe(7)
  expect(result.stderr.split("\n")).toHaveLength(3)
})
