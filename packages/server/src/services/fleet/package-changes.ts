import type { Inventory } from "@signalbox/contracts/fleet/inventory"

/** A package that came, went or changed its version from one inventory to the next. */
export interface PackageChange {
  readonly package: string
  readonly architecture: string
  readonly fromVersion: string | null
  readonly toVersion: string | null
  /** Milliseconds, by the machine's clock; null where its agent doesn't tell. */
  readonly changedAt: number | null
}

/** Of one step from inventory to inventory; more means that the machine became another one. */
export const packageChangesMax = 2000

/** What of an inventory says how its packages are. */
export type PackageState = Pick<Inventory, "packageManager" | "packages" | "problems">

/** None where either list is not whole: what is missing on it was not removed. */
export function findPackageChanges(before: PackageState, after: PackageState): PackageChange[] {
  if (!isWhole(before) || !isWhole(after)) return []
  const old = new Map(before.packages.map((each) => [keyOf(each), each]))
  const present = new Map(after.packages.map((each) => [keyOf(each), each]))
  const changes: PackageChange[] = []
  for (const [key, { name, architecture, version, changedAt }] of present) {
    const fromVersion = old.get(key)?.version ?? null
    if (fromVersion === version) continue
    const at = changedAt === undefined ? null : changedAt * 1000
    changes.push({ package: name, architecture, fromVersion, toVersion: version, changedAt: at })
  }
  for (const [key, { name, architecture, version }] of old) {
    if (present.has(key)) continue
    changes.push({ package: name, architecture, fromVersion: version, toVersion: null, changedAt: null })
  }
  return changes.slice(0, packageChangesMax)
}

const keyOf = ({ name, architecture }: { name: string; architecture: string }) => `${name}\0${architecture}`

/** The agent says among its problems where it could not read all packages, or could not send them. */
function isWhole({ packageManager, problems }: PackageState): boolean {
  return (
    packageManager !== "none" &&
    !problems.some((problem) => /^(?:dpkg-query|packages|the lists are cut)\b/.test(problem))
  )
}
