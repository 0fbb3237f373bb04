/** Files of the kernel as containers and odd systems have them, below a root of our own; and a real agent process that reads them. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import type { MetricSample } from "@signalbox/contracts/fleet/metrics"
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest"
import { makeMachine } from "./protocol-server.fixture.ts"
import { diskPercent, loadAverage, memoryPercent } from "./system-figures.ts"

const MiB = 1024 ** 2
const meminfo = (totalMiB: number, availableMiB: number) =>
  `MemTotal: ${totalMiB * 1024} kB\nMemFree: 1 kB\nMemAvailable: ${availableMiB * 1024} kB\n`
/** What version 1 writes where there is no limit. */
const unlimited = "9223372036854771712\n"

let systemRoot: string
beforeEach(async () => {
  systemRoot = await mkdtemp(join(tmpdir(), "signalbox system "))
})
afterEach(() => rm(systemRoot, { recursive: true }))

async function write(files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(systemRoot, name)), { recursive: true })
    await writeFile(join(systemRoot, name), text)
  }
}

const isLinux = process.platform === "linux"

describe.runIf(isLinux)("memory", () => {
  const version2 = (limit: string, current: number, inactive: number) => ({
    "sys/fs/cgroup/memory.max": limit,
    "sys/fs/cgroup/memory.current": `${current}\n`,
    "sys/fs/cgroup/memory.stat": `anon 1\ninactive_file ${inactive}\n`,
  })
  const version1 = (limit: string, usage: number, inactive: number) => ({
    "sys/fs/cgroup/memory/memory.limit_in_bytes": limit,
    "sys/fs/cgroup/memory/memory.usage_in_bytes": `${usage}\n`,
    "sys/fs/cgroup/memory/memory.stat": `inactive_file 1\ntotal_inactive_file ${inactive}\n`,
  })
  const machine = { "proc/meminfo": meminfo(1000, 250) }

  test.each([
    ["a machine", machine, 75],
    ["a container without a limit", { ...machine, ...version2("max\n", 1, 1) }, 75],
    ["a container with a limit", { ...machine, ...version2(`${500 * MiB}\n`, 450 * MiB, 50 * MiB) }, 80],
    ["a limit above what the machine has", { ...machine, ...version2(`${2000 * MiB}\n`, 450 * MiB, 50 * MiB) }, 75],
    ["a container whose files are all in use", { ...machine, ...version2(`${500 * MiB}\n`, 500 * MiB, 0) }, 100],
    ["a container of version 1", { ...machine, ...version1(`${200 * MiB}\n`, 150 * MiB, 50 * MiB) }, 50],
    ["version 1 without a limit", { ...machine, ...version1(unlimited, 150 * MiB, 50 * MiB) }, 75],
    ["a container without meminfo", version2(`${500 * MiB}\n`, 125 * MiB, 0), 25],
  ] as const)("of %s", async (_, files, percent) => {
    await write(files)
    expect(await memoryPercent(systemRoot)).toBeCloseTo(percent)
  })

  test.each([
    ["nothing", {}, "meminfo"],
    ["no meminfo and no limit", version2("max\n", 1, 1), "meminfo"],
    ["a meminfo of an old kernel", { "proc/meminfo": "MemTotal: 1000 kB\nMemFree: 1 kB\n" }, "lacks"],
    ["a limit and no usage", { ...machine, "sys/fs/cgroup/memory.max": `${500 * MiB}\n` }, "memory.current"],
    ["a limit that is no number", { ...machine, "sys/fs/cgroup/memory.max": "much\n" }, "memory.max holds no number"],
    [
      "statistics without files",
      { ...machine, ...version2(`${500 * MiB}\n`, 1, 1), "sys/fs/cgroup/memory.stat": "anon 1\n" },
      "inactive_file",
    ],
  ] as const)("is not told of %s", async (_, files, said) => {
    await write(files)
    await expect(memoryPercent(systemRoot)).rejects.toThrow(said)
  })
})

test.runIf(isLinux)("a load average that is not there is no 0", async () => {
  await expect(loadAverage(systemRoot)).rejects.toThrow("loadavg")
  await write({ "proc/loadavg": "" })
  await expect(loadAverage(systemRoot)).rejects.toThrow("holds no load average")
  await write({ "proc/loadavg": "0.00 0.10 0.20 1/100 4242\n" })
  expect(await loadAverage(systemRoot)).toBe(0)
})

test.runIf(isLinux)("a file system without a size is not empty", async () => {
  await expect(diskPercent("/proc")).rejects.toThrow("has no size")
})

test.runIf(isLinux)("an agent without these files says so of each figure, and tells the others", async () => {
  const sampled = await startRealAgent()
  for (const id of ["load", "memory"]) {
    const { value, problem } = await sampled(id, () => true)
    expect(value, id).toBeUndefined()
    expect(problem, id).toMatch(/^not available: ENOENT: .*\/proc\//)
  }
  expect((await sampled("disk", () => true)).value).toBeGreaterThan(0)
  expect((await sampled("own", () => true)).value).toBe(4)
  await write({ "proc/loadavg": "1.50 1 1 1/1 1\n", "proc/meminfo": meminfo(100, 40) })
  expect((await sampled("load", ({ value }) => value !== undefined)).value).toBe(1.5)
  expect((await sampled("memory", ({ value }) => value !== undefined)).value).toBeCloseTo(60)
})

test.runIf(isLinux && process.geteuid?.() !== 0)("a file that may not be read is told as one", async () => {
  await write({ "proc/loadavg": "1.50 1 1 1/1 1\n" })
  await chmod(join(systemRoot, "proc/loadavg"), 0)
  await expect(loadAverage(systemRoot)).rejects.toThrow("EACCES")
})

/** The compiled agent in a process of its own, as on a node. Gives the next sample of an id for which something holds. */
async function startRealAgent() {
  const machine = await makeMachine()
  const compiled = fileURLToPath(new URL("../dist/agent.js", import.meta.url))
  const program = `
    const { startAgent } = await import(process.argv[1])
    const limits = { backoffMillisecondsMin: 20, backoffMillisecondsMax: 100 }
    await startAgent({ dataDirectory: process.argv[2], root: process.argv[3], systemRoot: process.argv[4], limits })
  `
  const words = ["--input-type=module", "-e", program, compiled, machine.dataDirectory, machine.root, systemRoot]
  const child = spawn(process.execPath, words, { stdio: ["ignore", "inherit", "inherit"] })
  onTestFinished(async () => {
    const ended = once(child, "exit")
    if (child.exitCode === null && child.kill("SIGKILL")) await ended
    await machine.remove()
  })
  const { server } = machine
  await server.session()
  const every = { everyMilliseconds: 1_000 }
  server.send({
    type: "watch-metrics",
    watches: [
      { id: "load", ...every, metric: { kind: "load" } },
      { id: "memory", ...every, metric: { kind: "memory" } },
      { id: "disk", ...every, metric: { kind: "disk", path: "/" } },
      { id: "own", ...every, metric: { kind: "command", command: "echo 4", timeoutMilliseconds: 20_000 } },
    ],
  })
  return (id: string, holds: (sample: MetricSample) => boolean): Promise<MetricSample> =>
    server.until(
      () =>
        server
          .all("metrics")
          .flatMap(({ samples }) => samples)
          .find((each) => each.id === id && holds(each)),
      `a sample of ${id}`,
    )
}
