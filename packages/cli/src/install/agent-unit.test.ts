import { spawnSync } from "node:child_process"
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, beforeEach, expect, test } from "vitest"
import { agentUnit } from "./agent-unit.ts"

const examples = fileURLToPath(new URL("../../../../examples/", import.meta.url))
let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox unit "))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

async function verify(unit: string): Promise<string> {
  const file = join(directory, "signalbox-agent.service")
  await writeFile(file, unit)
  const verified = spawnSync("systemd-analyze", ["verify", file], { encoding: "utf8" })
  expect(verified.error).toBeUndefined()
  return `${verified.status} ${verified.stderr
    .split("\n")
    .filter((line) => line.includes("signalbox-agent"))
    .join("\n")}`
}

test("the example is the unit that `nodes install` writes, with the command of a global installation", async () => {
  const example = await readFile(join(examples, "signalbox-agent.service"), "utf8")
  expect(example).toBe(agentUnit("/usr/bin/env signalbox agent run"))
})

test("systemd understands it, also where its paths have spaces, and with the drop-in of an agent that is not root", async () => {
  // Where there is no systemd at all, there is nobody to ask.
  if (spawnSync("systemd-analyze", ["--version"]).error !== undefined) return
  const program = join(directory, "a program")
  await writeFile(program, "#!/bin/sh\n", { mode: 0o755 })
  expect(await verify(agentUnit(`"${program}" run --data "/var/lib/the data"`))).toBe("0 ")
  const dropIns = join(directory, "signalbox-agent.service.d")
  await mkdir(dropIns)
  await cp(join(examples, "signalbox-agent-unprivileged.conf"), join(dropIns, "unprivileged.conf"))
  expect(await verify(agentUnit(`"${program}" run`))).toBe("0 ")
  // The drop-in is read at all: a wrong word in it is seen.
  await writeFile(join(dropIns, "wrong.conf"), "[Service]\nProtectEverything=yes\n")
  expect(await verify(agentUnit(`"${program}" run`))).toContain("ProtectEverything")
})
