import { spawn } from "node:child_process"
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { openRepository, repositoryRoot } from "./repository.ts"
import { runCommand, type CommandResult } from "./run-command.ts"

/**
 * Proves that what `npm pack` makes is enough: packs every publishable package, installs the tarballs in an empty
 * folder outside the repository, and runs the demo there with nothing of the repository on the PATH. Prints megabytes
 * and seconds as one line of JSON. Exit status 0 where the demo's claims hold.
 */

const installTimeoutMilliseconds = 300_000
const demoTimeoutMilliseconds = 300_000
const unwantedInPackage = /\.test\.|\.fixture\.|tsbuildinfo|(?:^|\/)src\/|\.map$/

interface Tarball {
  readonly filename: string
  readonly name: string
  readonly size: number
  readonly files: ReadonlyArray<{ readonly path: string }>
}

/** What a user's shell has: no variable of this npm run, no folder of this repository. */
function foreignEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(?:npm_|NODE_OPTIONS$|INIT_CWD$)/i.test(name))
  const path = (process.env["PATH"] ?? "").split(":").filter((folder) => !folder.includes("node_modules"))
  return { ...Object.fromEntries(kept), PATH: path.join(":") }
}

async function packAll(destination: string): Promise<Tarball[]> {
  const repository = await openRepository()
  const manifests = repository.files.filter((path) => /^packages\/[^/]+\/package\.json$/.test(path))
  const names: string[] = []
  for (const path of manifests) {
    const { name, private: isPrivate } = JSON.parse(await repository.read(path)) as { name: string; private?: boolean }
    if (!isPrivate) names.push(name)
  }
  const words = ["pack", "--json", "--ignore-scripts", "--pack-destination", destination]
  const result = await runCommand(["npm", ...words, ...names.flatMap((name) => ["-w", name])], {
    directory: repositoryRoot,
  })
  if (result.status !== 0) throw new Error(`npm pack failed:\n${result.stderr}`)
  return Object.values(JSON.parse(result.stdout) as Record<string, Tarball>)
}

function checkContents(tarballs: readonly Tarball[]): string[] {
  return tarballs.flatMap(({ name, files }) =>
    files.filter(({ path }) => unwantedInPackage.test(path)).map(({ path }) => `${name} contains ${path}`),
  )
}

async function install(folder: string, tarballs: readonly string[]): Promise<CommandResult> {
  await writeFile(join(folder, "package.json"), '{ "private": true }\n')
  return runCommand(["npm", "install", "--no-audit", "--no-fund", ...tarballs], {
    directory: folder,
    environment: foreignEnvironment(),
    timeoutMilliseconds: installTimeoutMilliseconds,
  })
}

/** Runs the demo; its progress goes to standard error, the last line of its output is the figures. */
function runDemo(folder: string): Promise<{ status: number | null; figures: Record<string, unknown> }> {
  const child = spawn("npx", ["--no-install", "signalbox", "demo", "--json"], {
    cwd: folder,
    env: foreignEnvironment(),
    stdio: ["ignore", "pipe", "inherit"],
    timeout: demoTimeoutMilliseconds,
  })
  let last = "{}"
  createInterface(child.stdout).on("line", (line) => (last = line))
  return new Promise((resolve, reject) => {
    child.on("error", reject)
    child.on("close", (status) => resolve({ status, figures: JSON.parse(last) as Record<string, unknown> }))
  })
}

async function sizeOf(folder: string): Promise<number> {
  let bytes = 0
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size
  }
  return bytes
}

const megabytes = (bytes: number): number => Number((bytes / 1_000_000).toFixed(1))
const secondsSince = (begun: number): number => Number(((performance.now() - begun) / 1000).toFixed(1))

async function prove(root: string): Promise<{ ok: boolean }> {
  const packed = join(root, "packed")
  const empty = join(root, "an empty folder")
  await mkdir(packed)
  await mkdir(empty)
  const tarballs = await packAll(packed)
  const unwanted = checkContents(tarballs)
  const begun = performance.now()
  const installed = await install(
    empty,
    (await readdir(packed)).map((name) => join(packed, name)),
  )
  if (installed.status !== 0) throw new Error(`npm install failed:\n${installed.stderr}`)
  const installSeconds = secondsSince(begun)
  const demoBegun = performance.now()
  const { status, figures } = await runDemo(empty)
  const secondsToFirst = figures["secondsToFirstSucceededNode"]
  const report = {
    ok: status === 0 && figures["ok"] === true && unwanted.length === 0,
    packages: tarballs.length,
    packedMegabytes: megabytes(tarballs.reduce((sum, { size }) => sum + size, 0)),
    installedMegabytes: megabytes(await sizeOf(join(empty, "node_modules"))),
    installSeconds,
    demoSeconds: secondsSince(demoBegun),
    ...(typeof secondsToFirst === "number"
      ? { installToFirstSucceededNodeSeconds: Number((installSeconds + secondsToFirst).toFixed(1)) }
      : {}),
    ...(unwanted.length > 0 ? { unwanted } : {}),
    demo: figures,
  }
  console.log(JSON.stringify(report))
  return report
}

const root = await mkdtemp(join(tmpdir(), "signalbox-pack-"))
try {
  process.exitCode = (await prove(root)).ok ? 0 : 1
} finally {
  await rm(root, { recursive: true, force: true })
}
