/**
 * npm leaves the packages of other platforms out of the lockfile where it could not fetch them (npm/cli#4828), and a
 * lockfile made so can't be used by `npm ci`. Here they are found, and written from what is known of them.
 */

export interface LockEntry {
  readonly version?: string
  readonly dev?: boolean
  readonly optional?: boolean
  readonly license?: string
  readonly os?: readonly string[]
  readonly cpu?: readonly string[]
  readonly libc?: readonly string[]
  readonly engines?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>
}

export type LockEntries = Readonly<Record<string, LockEntry>>

const systems = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"]
const processors = ["arm", "arm64", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "wasm32", "x64"]

export interface MissingPlatform {
  readonly path: string
  readonly entry: LockEntry
}

/** Optional dependencies that a locked package names and the lockfile has no entry for. */
export function findMissingPlatforms(entries: LockEntries): MissingPlatform[] {
  const missing = new Map<string, LockEntry>()
  for (const [parentPath, parent] of Object.entries(entries)) {
    for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
      const path = `node_modules/${name}`
      if (path in entries || `${parentPath}/${path}` in entries) continue
      const siblings = Object.keys(parent.optionalDependencies ?? {}).map((each) => entries[`node_modules/${each}`])
      missing.set(path, makeEntry({ name, version, parent, sibling: siblings.find((each) => each !== undefined) }))
    }
  }
  return [...missing].map(([path, entry]) => ({ path, entry }))
}

function makeEntry(source: {
  readonly name: string
  readonly version: string
  readonly parent: LockEntry
  readonly sibling: LockEntry | undefined
}): LockEntry {
  const { name, version, parent, sibling } = source
  const words = name.split(/[-/]/)
  const os = systems.filter((each) => words.includes(each))
  const cpu = processors.filter((each) => words.includes(each))
  const libc = words.flatMap((word) => (word.startsWith("gnu") ? ["glibc"] : word.startsWith("musl") ? ["musl"] : []))
  const license = sibling?.license ?? parent.license
  return {
    version,
    ...(cpu.length > 0 ? { cpu } : {}),
    ...(parent.dev ? { dev: true } : {}),
    ...(libc.length > 0 ? { libc } : {}),
    ...(license === undefined ? {} : { license }),
    optional: true,
    ...(os.length > 0 ? { os } : {}),
    ...(sibling?.engines ? { engines: sibling.engines } : {}),
  }
}
