import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, onTestFinished, test } from "vitest"

const program = `
  const { mkdirSync, mkdtempSync } = await import("node:fs")
  const { tmpdir } = await import("node:os")
  const { join } = await import("node:path")
  const { setup, teardown } = await import(${JSON.stringify(new URL("run-directory.ts", import.meta.url).href)})
  await setup()
  for (const name of ["node-compile-cache", "signalbox-socket-1-1-a"]) mkdirSync(join(tmpdir(), name))
  for (const name of process.argv.slice(1)) mkdtempSync(join(tmpdir(), name))
  process.stdout.write("made")
  await new Promise((resolve) => process.stdin.once("end", resolve).resume())
  await teardown().catch((error) => { process.stderr.write(error.message); process.exitCode = 1 })
`

async function startRun(parent: string, ...leaves: readonly string[]) {
  const child = spawn(
    process.execPath,
    ["--conditions=source", "--input-type=module", "-e", program, "--", ...leaves],
    {
      env: { ...process.env, TMPDIR: parent },
      stdio: ["pipe", "pipe", "pipe"],
    },
  )
  let told = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => (told += text))
  const closed = once(child, "close")
  await Promise.race([once(child.stdout, "data"), closed])
  const end = async (how: "end" | "kill"): Promise<{ code: number | null; told: string }> => {
    if (how === "end") child.stdin.end()
    else child.kill("SIGKILL")
    const [code] = (await closed) as [number | null]
    return { code, told }
  }
  return { end }
}

async function makeParent(): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), "signalbox runs "))
  onTestFinished(() => rm(parent, { recursive: true }))
  return parent
}

test("a run that left something fails and tells what; one that tidied up does not; nothing stays of either", async () => {
  const parent = await makeParent()
  const [tidy, untidy] = [await startRun(parent), await startRun(parent, "signalbox left ")]
  expect(await readdir(parent)).toHaveLength(2)
  expect(await tidy.end("end")).toEqual({ code: 0, told: "" })
  const { code, told } = await untidy.end("end")
  expect(code).toBe(1)
  expect(told).toMatch(/^tests left in their temporary directory: signalbox left \w{6}$/)
  expect(await readdir(parent)).toEqual([])
})

test("what a killed run left is removed by the next one, which leaves running ones alone", async () => {
  const parent = await makeParent()
  const [killed, running] = [await startRun(parent, "a"), await startRun(parent)]
  await killed.end("kill")
  expect(await readdir(parent)).toHaveLength(2)
  const next = await startRun(parent)
  expect(await readdir(parent)).toHaveLength(2)
  for (const run of [running, next]) expect(await run.end("end")).toEqual({ code: 0, told: "" })
  expect(await readdir(parent)).toEqual([])
})
