import type { Repository } from "./repository.ts"

export interface LockedPackage {
  readonly name: string
  readonly version: string
  readonly licence: string
  /** Shipped: a user who installs Signalbox gets it. */
  readonly production: boolean
  readonly hasInstallScript: boolean
}

interface LockEntry {
  readonly version?: string
  readonly license?: string
  readonly dev?: boolean
  readonly devOptional?: boolean
  readonly link?: boolean
  readonly hasInstallScript?: boolean
}

/** The packages of others that the lockfile names, sorted by name and version, each once. */
export async function readLockedPackages(repository: Repository): Promise<LockedPackage[]> {
  const lock = JSON.parse(await repository.read("package-lock.json")) as {
    packages: Readonly<Record<string, LockEntry>>
  }
  const found = new Map<string, LockedPackage>()
  for (const [path, entry] of Object.entries(lock.packages)) {
    const folder = path.lastIndexOf("node_modules/")
    if (folder < 0 || entry.link) continue
    const name = path.slice(folder + "node_modules/".length)
    const version = entry.version ?? ""
    const before = found.get(`${name}@${version}`)
    found.set(`${name}@${version}`, {
      name,
      version,
      licence: entry.license ?? "unknown",
      production: before?.production || !(entry.dev || entry.devOptional),
      hasInstallScript: before?.hasInstallScript || entry.hasInstallScript === true,
    })
  }
  return [...found].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each)
}
