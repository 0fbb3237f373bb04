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
  /** Directories by path, each file in base64. */
  readonly backup: Readonly<Record<string, string>>
  readonly agent: Readonly<Record<string, string>>
}

const file = fileURLToPath(new URL("fixtures/upgrade.json.gz", import.meta.url))

export async function readUpgradeArchive(): Promise<UpgradeArchive> {
  return JSON.parse(gunzipSync(await readFile(file)).toString("utf8")) as UpgradeArchive
}

export async function writeUpgradeArchive(archive: UpgradeArchive): Promise<number> {
  const bytes = gzipSync(JSON.stringify(archive), { level: 9 })
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, bytes)
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
