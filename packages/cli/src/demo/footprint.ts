import { readdir, readFile, realpath } from "node:fs/promises"
import { dirname, join } from "node:path"
import { programPath } from "./demo-server.ts"
import { runProgram } from "./run-program.ts"

const bytesPerMegabyte = 1_000_000
const packagesMax = 1_000
const measureTimeoutMilliseconds = 10_000

/** Resident memory of a process; null where the system doesn't tell. */
export async function residentMegabytes(processId: number): Promise<number | null> {
  const status = await readFile(`/proc/${processId}/status`, "utf8").catch(() => undefined)
  const inFile = /^VmRSS:\s+(\d+) kB$/m.exec(status ?? "")?.[1]
  if (inFile !== undefined) return toMegabytes(Number(inFile) * 1024)
  const { exitCode, output } = await runProgram(["ps", "-o", "rss=", "-p", String(processId)], {
    timeoutMilliseconds: measureTimeoutMilliseconds,
  })
  return exitCode === 0 && Number(output) > 0 ? toMegabytes(Number(output) * 1024) : null
}

/** PostgreSQL's processes together, memory that they share counted once; null where the system doesn't tell. */
export async function databaseMegabytes(postmaster: number): Promise<number | null> {
  const children = await readFile(`/proc/${postmaster}/task/${postmaster}/children`, "utf8").catch(() => undefined)
  if (children === undefined) return null
  let kilobytes = 0
  for (const processId of [String(postmaster), ...children.trim().split(" ")]) {
    const memory = await readFile(`/proc/${processId}/smaps_rollup`, "utf8").catch(() => "")
    kilobytes += Number(/^Pss:\s+(\d+) kB$/m.exec(memory)?.[1] ?? 0)
  }
  return kilobytes === 0 ? null : toMegabytes(kilobytes * 1024)
}

interface Manifest {
  readonly name?: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly files?: readonly string[]
}

/** What this program needs on disk: its package and all that it depends on, without tools for its development. */
export async function installedMegabytes(): Promise<number | null> {
  const directories = await findPackages(dirname(dirname(programPath())))
  const paths = (await Promise.all(directories.map(shippedPaths))).flat()
  const { exitCode, output } = await runProgram(["du", "-sk", "--", ...paths], {
    timeoutMilliseconds: measureTimeoutMilliseconds,
  })
  if (exitCode === null) return null
  const kilobytes = output.split("\n").reduce((sum, line) => sum + Number(/^(\d+)\s/.exec(line)?.[1] ?? 0), 0)
  return kilobytes === 0 ? null : toMegabytes(kilobytes * 1024)
}

async function readManifest(directory: string): Promise<Manifest | undefined> {
  const text = await readFile(join(directory, "package.json"), "utf8").catch(() => undefined)
  return text === undefined ? undefined : (JSON.parse(text) as Manifest)
}

/** The folders of a package and of everything that it needs, as Node.js would find them. */
async function findPackages(first: string): Promise<string[]> {
  const found = new Set([await realpath(first)])
  for (const directory of found) {
    if (found.size >= packagesMax) break
    const manifest = await readManifest(directory)
    for (const name of Object.keys({ ...manifest?.dependencies, ...manifest?.optionalDependencies })) {
      const dependency = await findPackage(name, directory)
      if (dependency !== undefined) found.add(dependency)
    }
  }
  return [...found]
}

async function findPackage(name: string, from: string): Promise<string | undefined> {
  for (let at = from; ; at = dirname(at)) {
    const path = await realpath(join(at, "node_modules", name)).catch(() => undefined)
    if (path !== undefined) return path
    if (at === dirname(at)) return undefined
  }
}

/** All of a library; of a package of ours in its repository only what is published. Nested packages count apart. */
async function shippedPaths(directory: string): Promise<string[]> {
  const names = await readdir(directory)
  const isRepository = names.includes("src") && names.includes("tsconfig.json")
  const shipped = isRepository ? ((await readManifest(directory))?.files ?? []) : names
  return names.filter((name) => shipped.includes(name) && name !== "node_modules").map((name) => join(directory, name))
}

function toMegabytes(bytes: number): number {
  return Math.round(bytes / bytesPerMegabyte)
}
