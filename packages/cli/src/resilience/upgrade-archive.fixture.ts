import { mkdir, readdir, readFile, writeFile } from "node:fs/promises"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { gunzipSync, gzipSync } from "node:zlib"

/**
 * What an installation of an earlier version left: a backup of its database, and the data directory of one of its
 * agents. Its keys are those of an installation that was thrown away.
 */
export interface UpgradeArchive {
  /** The commit of the code that made it. */
  readonly commit: string
  readonly execution: string
  readonly node: string
  /** JSON Schema of the frames that agents of that version take. */
  readonly serverFrameSchema: Readonly<Record<string, unknown>>
  /** Directories by path, each file in base64. */
  readonly backup: Readonly<Record<string, string>>
  readonly agent: Readonly<Record<string, string>>
}

const archiveFile = fileURLToPath(new URL("fixtures/upgrade.json.gz", import.meta.url))

export async function readUpgradeArchive(): Promise<UpgradeArchive> {
  return JSON.parse(gunzipSync(await readFile(archiveFile)).toString("utf8")) as UpgradeArchive
}

export async function writeUpgradeArchive(archive: UpgradeArchive): Promise<number> {
  const bytes = gzipSync(JSON.stringify(archive), { level: 9 })
  await mkdir(dirname(archiveFile), { recursive: true })
  await writeFile(archiveFile, bytes)
  return bytes.length
}

/** The files below a directory, or the one file where the path is that of a file. */
export async function packFiles(path: string): Promise<Record<string, string>> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => undefined)
  const paths = entries?.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)) ?? [path]
  return Object.fromEntries(
    await Promise.all(paths.map(async (one) => [relative(path, one), (await readFile(one)).toString("base64")])),
  ) as Record<string, string>
}

/** Puts packed files back, readable by their owner alone. */
export async function unpackFiles(files: Readonly<Record<string, string>>, path: string): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    const target = name === "" ? path : join(path, name)
    await mkdir(dirname(target), { recursive: true, mode: 0o700 })
    await writeFile(target, Buffer.from(text, "base64"), { mode: 0o600 })
  }
}

/** Makes an agent dial another address, which is plain HTTP or has the CA that it knows. Gives what stood there. */
export async function dialElsewhere(agentDirectory: string, serverUrl: string): Promise<string> {
  const file = join(agentDirectory, "identity.json")
  const before = await readFile(file, "utf8")
  await writeFile(file, JSON.stringify({ ...(JSON.parse(before) as object), serverUrl }))
  return before
}
