import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { findMissingPlatforms, type LockEntries } from "./lockfile-platforms.ts"
import { repositoryRoot } from "./repository.ts"

/** To be run after `npm install`: adds the packages of other platforms that npm left out. */
const path = join(repositoryRoot, "package-lock.json")
const lock = JSON.parse(await readFile(path, "utf8")) as { packages: LockEntries }
const missing = findMissingPlatforms(lock.packages)
const entries = [...Object.entries(lock.packages), ...missing.map(({ path, entry }) => [path, entry] as const)]
const packages = Object.fromEntries(entries.toSorted(([a], [b]) => a.localeCompare(b, "en")))
if (missing.length > 0) await writeFile(path, `${JSON.stringify({ ...lock, packages }, null, 2)}\n`)
console.log(`${missing.length} packages of other platforms added to package-lock.json`)
for (const each of missing) console.log(`  ${each.path.replace("node_modules/", "")}`)
